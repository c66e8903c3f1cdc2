"""Views of images, and a teacher's logits for them."""

import torch

from patchwire_training.recipes.teacher import Teacher, Word, word
from patchwire_training.recipes.train_classify import distilled
from patchwire_training.data.views import REACH, Views, draw_views, show


def images(count: int) -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)


def test_a_view_shifts_and_mirrors():
    whole = images(2)
    shown = show(whole, Views(torch.tensor([[REACH, 0], [REACH, REACH + 1]]), torch.tensor([False, True])))
    assert torch.equal(shown[0], whole[0].float()), "the middle view is the image"
    assert shown[1, :, :REACH].eq(0).all(), "black above the image"
    assert torch.equal(shown[1, :, REACH:, 1:], whole[1, :, : 32 - REACH, 1:].flip(2).float())


def test_the_teachers_word_is_about_the_views_it_is_kept_with(tmp_path):
    torch.manual_seed(4)
    teacher, whole = Teacher((8, 8, 8)), images(6)
    teacher.set_whitening(whole)
    word(teacher, whole, torch.Generator().manual_seed(1)).save(tmp_path)
    picked = torch.tensor([5, 0, 3])
    views, said = Word.load(tmp_path).draw(picked, torch.Generator().manual_seed(2))
    with torch.no_grad():
        again = teacher.eval()(show(whole[picked], views))
    torch.testing.assert_close(said, again, atol=0.02, rtol=0.05)


def test_distillation_is_least_for_the_teachers_own_logits():
    said, labels = torch.randn(50, 10, generator=torch.Generator().manual_seed(5)), torch.arange(50) % 10
    said[torch.arange(50), labels] += 4
    alike = distilled(said, labels, said)
    assert alike < distilled(said + torch.randn_like(said), labels, said)
    assert alike < distilled(torch.zeros_like(said), labels, said)


def test_drawn_views_reach_every_shift():
    views = draw_views(2000, torch.Generator().manual_seed(6))
    assert set(views.shift.unique().tolist()) == set(range(2 * REACH + 1))
    assert 0.4 < views.flip.float().mean() < 0.6
