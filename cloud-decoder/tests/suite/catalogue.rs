//! The behaviour of a catalogue.

use cloud_decoder::{
    frame::{Frame, FrameState, NewFrame, Quality, Work},
    store::catalogue::{Kept, Lines, Page, Span},
};
use uuid::Uuid;

use super::{Handles, frame, label_only};

const QUALITY: Quality = Quality {
    psnr_db: Some(26.5),
    ssim: Some(0.75),
    ms_ssim: Some(0.9),
    seam_ratio: Some(1.02),
    original_seam_ratio: Some(1.0),
};
const DECODER: [u8; 32] = [3; 32];
const WORK: Work = Work {
    decode_ns: 4_000_000,
    measure_ns: 2,
    store_ns: 3,
    finished_ms: 1_790_000_002_000,
};

/// Runs all checks below, on new catalogues.
pub async fn all(mut new: impl AsyncFnMut() -> Handles) {
    what_was_inserted_is_read(&new().await).await;
    a_frame_is_kept_once(&new().await).await;
    pages_follow_each_other(&new().await).await;
    an_outcome_is_written_once(&new().await).await;
    a_frame_is_queued_again(&new().await).await;
    sums_follow_frames(&new().await).await;
    the_oldest_goes_first(&new().await).await;
    figures_are_read(&new().await).await;
    labels_are_read(&new().await).await;
}

async fn insert(catalogue: &Handles, frames: Vec<NewFrame>) -> Vec<Option<Frame>> {
    catalogue.rows.insert(frames).await.expect("inserted")
}

async fn get(catalogue: &Handles, id: Uuid) -> Frame {
    let frame = catalogue.catalogue.get(id).await.expect("read");
    frame.expect("the frame is there")
}

fn ids(frames: &[Frame]) -> Vec<Uuid> {
    frames.iter().map(|frame| frame.new.id).collect()
}

async fn what_was_inserted_is_read(catalogue: &Handles) {
    let (sent, label) = (frame("gate"), label_only("gate"));
    let rows = insert(catalogue, vec![sent.clone(), label.clone()]).await;
    for (sent, row) in [sent, label].into_iter().zip(rows) {
        let returned = row.expect("it is new");
        let read = get(catalogue, sent.id).await;
        for frame in [returned, read] {
            assert_eq!(frame.state, sent.state());
            assert_eq!((frame.attempts, frame.failure.as_str()), (0, ""));
            assert_eq!(format!("{:?}", frame.new), format!("{sent:?}"));
        }
    }
    let unknown = catalogue.catalogue.get(Uuid::now_v7()).await.expect("read");
    assert!(unknown.is_none());
}

async fn a_frame_is_kept_once(catalogue: &Handles) {
    let (first, second) = (frame("gate"), frame("gate"));
    let rows = insert(catalogue, vec![first.clone(), first.clone()]).await;
    assert_eq!((rows[0].is_some(), rows[1].is_some()), (true, false));
    let rows = insert(catalogue, vec![second.clone(), first]).await;
    assert_eq!((rows[0].is_some(), rows[1].is_some()), (true, false));
    let camera = catalogue
        .catalogue
        .cameras(500, 0)
        .await
        .expect("cameras")
        .remove(0);
    assert_eq!((camera.frames, camera.last_frame), (2, second.id));
    assert!(insert(catalogue, vec![]).await.is_empty());
}

async fn pages_follow_each_other(catalogue: &Handles) {
    let frames: Vec<_> = (0..5).map(|n| frame(["gate", "dock"][n % 2])).collect();
    let newest_first: Vec<_> = frames.iter().rev().map(|frame| frame.id).collect();
    insert(catalogue, frames.clone()).await;
    let page = async |page: Page| catalogue.catalogue.list(&page).await.expect("a page");
    let first = Page {
        limit: 2,
        ..Page::default()
    };
    let read = page(first.clone()).await.expect("a beginning");
    assert_eq!(ids(&read), newest_first[..2]);
    let next = Page {
        before: Some(newest_first[1]),
        limit: 10,
        ..first.clone()
    };
    assert_eq!(ids(&page(next).await.expect("known")), newest_first[2..]);
    let gate = Page {
        camera: Some("gate".to_owned()),
        state: Some(FrameState::Queued),
        limit: 10,
        ..first.clone()
    };
    assert_eq!(page(gate).await.expect("a page").len(), 3);
    let unknown = Page {
        before: Some(Uuid::now_v7()),
        ..first
    };
    assert!(page(unknown).await.is_none());
}

async fn an_outcome_is_written_once(catalogue: &Handles) {
    let (good, bad) = (frame("gate"), frame("gate"));
    let (good_id, bad_id) = (good.id, bad.id);
    insert(catalogue, vec![good, bad]).await;
    assert_eq!(catalogue.catalogue.queued().await.expect("count"), 2);
    let since = catalogue.catalogue.queued_since().await.expect("a time");
    assert_eq!(since, Some(1_790_000_001_000));

    let decoded = catalogue
        .rows
        .decoded(good_id, DECODER, QUALITY, WORK, 50)
        .await;
    let decoded = decoded.expect("written").expect("it was queued");
    assert_eq!(decoded.state, FrameState::Decoded);
    assert_eq!(decoded.decoder_id, Some(DECODER));
    assert_eq!((decoded.quality, decoded.work), (Some(QUALITY), WORK));
    assert_eq!(decoded.new.bytes, 150);
    let again = catalogue
        .rows
        .decoded(good_id, DECODER, QUALITY, WORK, 50)
        .await;
    assert!(again.expect("asked").is_none());
    let too_late = catalogue.rows.failed(good_id, "late").await.expect("asked");
    assert!(too_late.is_none());

    let failed = catalogue.rows.failed(bad_id, "no decoder").await;
    let failed = failed.expect("written").expect("it was queued");
    assert_eq!(failed.failure, "no decoder");
    let parked = catalogue.catalogue.failed_for("no decoder", 10).await;
    assert_eq!(parked.expect("read"), [bad_id]);
    let others = catalogue.catalogue.failed_for("another", 10).await;
    assert!(others.expect("read").is_empty());
    assert_eq!(catalogue.catalogue.queued().await.expect("count"), 0);
    assert_eq!(
        catalogue.catalogue.queued_since().await.expect("a time"),
        None
    );
}

async fn a_frame_is_queued_again(catalogue: &Handles) {
    let (sent, label) = (frame("gate"), label_only("gate"));
    let (id, label_id) = (sent.id, label.id);
    insert(catalogue, vec![sent, label]).await;
    let waiting = catalogue.rows.requeue(id, 100).await.expect("asked");
    assert!(waiting.is_none(), "it waits already");
    let nothing = catalogue.rows.requeue(label_id, 100).await.expect("asked");
    assert!(nothing.is_none(), "there is nothing to decode");
    catalogue
        .rows
        .decoded(id, DECODER, QUALITY, WORK, 50)
        .await
        .expect("written");
    let queued = catalogue.rows.requeue(id, 100).await.expect("written");
    let queued = queued.expect("it was decoded");
    assert_eq!(queued.state, FrameState::Queued);
    assert_eq!(queued.decoder_id, None);
    assert_eq!((queued.quality, queued.work), (None, Work::default()));
    let camera = catalogue
        .catalogue
        .cameras(500, 0)
        .await
        .expect("cameras")
        .remove(0);
    assert_eq!((camera.decoded, camera.measured), (0, 0));
    assert_eq!((camera.last_decoded, camera.mean_psnr_db), (None, None));
    let kept = catalogue.catalogue.kept().await.expect("sums");
    assert_eq!(kept.bytes, 100);
}

async fn sums_follow_frames(catalogue: &Handles) {
    let (first, second, label) = (frame("gate"), frame("gate"), label_only("gate"));
    let last = label.id;
    let (first_id, second_id) = (first.id, second.id);
    insert(catalogue, vec![first, second, label, frame("dock")]).await;
    catalogue
        .rows
        .decoded(first_id, DECODER, QUALITY, WORK, 50)
        .await
        .expect("written");
    let infinite = Quality {
        psnr_db: Some(f64::INFINITY),
        ..QUALITY
    };
    catalogue
        .rows
        .decoded(second_id, DECODER, infinite, WORK, 50)
        .await
        .expect("written");
    let read = get(catalogue, second_id).await.quality.expect("measured");
    assert_eq!(read.psnr_db, Some(f64::INFINITY));

    let cameras = catalogue.catalogue.cameras(500, 0).await.expect("cameras");
    let names: Vec<_> = cameras.iter().map(|c| c.camera.as_str()).collect();
    assert_eq!(names, ["dock", "gate"], "by name where all is well");
    let gate = &cameras[1];
    assert_eq!((gate.frames, gate.decoded, gate.labelled), (3, 2, 1));
    assert_eq!((gate.pixels, gate.latent_bits), (2 * 64 * 48, 2048));
    assert_eq!((gate.source_bytes, gate.sourced_bits), (2000, 2048));
    assert_eq!((gate.measured, gate.mean_psnr_db), (1, Some(26.5)));
    assert_eq!(gate.last_decoded, Some(second_id));
    assert_eq!(gate.last_frame, last);
    let kept = catalogue.catalogue.kept().await.expect("sums");
    let (frames, bytes) = (4, 3 * 100 + 2 * 50);
    assert_eq!(kept, Kept { frames, bytes });
}

async fn the_oldest_goes_first(catalogue: &Handles) {
    let frames: Vec<_> = (0..4).map(|_| frame("gate")).collect();
    let sent: Vec<_> = frames.iter().map(|frame| frame.id).collect();
    insert(catalogue, frames).await;
    for &id in &sent[1..] {
        catalogue
            .rows
            .decoded(id, DECODER, QUALITY, WORK, 0)
            .await
            .expect("written");
    }
    let oldest = catalogue.catalogue.oldest(2).await.expect("frames");
    assert_eq!(ids(&oldest), sent[1..3], "what waits stays");
    let due = catalogue.catalogue.due(i64::MIN, 150).await.expect("sums");
    assert_eq!((due.frames, due.bytes), (2, 200));
    let due = catalogue.catalogue.due(i64::MAX, 0).await.expect("sums");
    assert_eq!(due.frames, 3);

    // One that waits, one that is not there, and those that go.
    let mut gone = vec![sent[0], Uuid::now_v7()];
    gone.extend(&sent[2..]);
    catalogue.rows.remove(&gone).await.expect("removed");
    let left = Page {
        limit: 10,
        ..Page::default()
    };
    let left = catalogue.catalogue.list(&left).await.expect("a page");
    assert_eq!(ids(&left.expect("a page")), [sent[1], sent[0]]);
    let camera = catalogue
        .catalogue
        .cameras(500, 0)
        .await
        .expect("cameras")
        .remove(0);
    assert_eq!((camera.frames, camera.last_frame), (2, sent[1]));
    assert_eq!((camera.pixels, camera.decoded), (2 * 64 * 48, 1));
    catalogue.rows.failed(sent[0], "x").await.expect("written");
    catalogue.rows.remove(&sent).await.expect("removed");
    assert!(
        catalogue
            .catalogue
            .cameras(500, 0)
            .await
            .expect("cameras")
            .is_empty()
    );
    assert_eq!(
        catalogue.catalogue.kept().await.expect("sums"),
        Kept::default()
    );
}

async fn figures_are_read(catalogue: &Handles) {
    let mut frames: Vec<_> = (0..4).map(|_| frame("gate")).collect();
    for (n, frame) in frames.iter_mut().enumerate() {
        frame.captured_ms += 1000 * n as i64;
    }
    frames[3].camera_id = "dock".to_owned();
    let sent: Vec<_> = frames.iter().map(|frame| frame.id).collect();
    insert(catalogue, frames).await;
    for (n, &id) in sent[..2].iter().enumerate() {
        let quality = Quality {
            psnr_db: Some(20.0 + n as f64),
            ..QUALITY
        };
        catalogue
            .rows
            .decoded(id, DECODER, quality, WORK, 0)
            .await
            .expect("written");
    }
    let bpp = 1024.0 / (64.0 * 48.0);
    let span = Span {
        to_ms: i64::MAX,
        points: 1,
        ..Span::default()
    };
    let history = catalogue.catalogue.history(&span).await.expect("a history");
    assert_eq!(history.from_ms, 1_790_000_000_000);
    let names: Vec<_> = history.lines.iter().map(|line| &line.name).collect();
    assert_eq!(names, ["dock", "gate"]);
    let gate = &history.lines[1];
    assert_eq!(gate.frames, [3]);
    assert_eq!(gate.captured_ms, [1_790_000_001_000]);
    assert_eq!(gate.psnr_db, [Some(20.5)]);
    assert_eq!((&gate.bpp[0], &gate.decode_ms[0]), (&Some(bpp), &Some(4.0)));
    assert_eq!(
        (&gate.encode_ms[0], &gate.latent_ones[0]),
        (&Some(1.5), &Some(0.5))
    );
    // Finished 2000 and 1000 ms after capture, and 1.5 ms of encoding.
    assert_eq!(gate.latency_ms, [Some(1501.5)]);
    let of_program = Span {
        lines: Lines::Program,
        program: Some([7; 32]),
        ..span.clone()
    };
    let history = catalogue
        .catalogue
        .history(&of_program)
        .await
        .expect("a history");
    assert_eq!(history.lines.len(), 1);
    assert_eq!(history.lines[0].name, "07".repeat(32));
    assert_eq!(history.lines[0].frames, [4]);
    let of_another = Span {
        camera: Some("attic".to_owned()),
        ..span
    };
    let history = catalogue
        .catalogue
        .history(&of_another)
        .await
        .expect("a history");
    assert!(history.lines.is_empty());

    let latents = catalogue
        .catalogue
        .latents("gate", 2)
        .await
        .expect("samples");
    assert_eq!(latents.len(), 2);
    assert_eq!(latents[0].psnr_db, None);
    assert_eq!(latents[1].psnr_db, Some(21.0));
    assert_eq!(latents[0].shares, vec![128; 256]);
}

async fn labels_are_read(catalogue: &Handles) {
    let sent = label_only("gate");
    let id = sent.id;
    let mut without = frame("gate");
    without.label = None;
    insert(catalogue, vec![sent, without]).await;
    let page = Page {
        limit: 10,
        ..Page::default()
    };
    let labels = catalogue.catalogue.labels(&page).await.expect("read");
    let labels = labels.expect("a page");
    assert_eq!(labels.len(), 1);
    assert_eq!((labels[0].frame, labels[0].label.as_str()), (id, "ship"));
    assert_eq!(labels[0].score, 0.75);
}
