//! The catalogue's data about cameras as a whole.

use cloud_decoder::{
    alarm::AlarmKind,
    store::catalogue::{AlarmPage, Learned, TrafficBy, TrafficSpan},
};

use super::{Handles, frame, label_only};

/// The day of the frames' arrival.
const DAY: i64 = 1_790_000_001_000 / 86_400_000;

/// Runs all checks below, on new catalogues.
pub async fn all(mut new: impl AsyncFnMut() -> Handles) {
    one_alarm_of_a_kind_stands_at_a_time(&new().await).await;
    cameras_are_listed_worst_first(&new().await).await;
    frames_are_seen_in_their_order_and_learned_from(&new().await).await;
    bytes_are_counted_by_day_node_and_camera(&new().await).await;
    a_frame_knows_its_place(&new().await).await;
}

async fn one_alarm_of_a_kind_stands_at_a_time(list: &Handles) {
    let raise = async |kind, at| {
        list.watchlist
            .raise(kind, "gate", at, "a sentence")
            .await
            .expect("written")
    };
    let first = raise(AlarmKind::Drift, 10).await.expect("new");
    assert_eq!((first.begin_ms, first.end_ms), (10, None));
    assert_eq!(raise(AlarmKind::Drift, 20).await, None, "one stands");
    let silent = raise(AlarmKind::Silent, 30).await.expect("another kind");
    let page = AlarmPage::standing(10);
    assert_eq!(
        list.watchlist.alarms(&page).await.expect("read"),
        [silent.clone(), first.clone()]
    );

    let seen = list
        .watchlist
        .acknowledge(first.id, "ada", 40)
        .await
        .expect("written")
        .expect("it stands");
    assert_eq!(
        (seen.acknowledged_ms, seen.acknowledged_by.as_deref()),
        (Some(40), Some("ada"))
    );
    let again = list
        .watchlist
        .acknowledge(first.id, "bob", 50)
        .await
        .expect("written")
        .expect("it stands");
    assert_eq!(again, seen, "the first who acknowledges counts");

    let ended = list
        .watchlist
        .end(AlarmKind::Drift, "gate", 60)
        .await
        .expect("written")
        .expect("it stood");
    assert_eq!((ended.id, ended.end_ms), (first.id, Some(60)));
    assert_eq!(
        list.watchlist
            .end(AlarmKind::Drift, "gate", 70)
            .await
            .expect("asked"),
        None
    );
    assert_eq!(
        list.watchlist
            .acknowledge(first.id, "ada", 80)
            .await
            .expect("asked"),
        None
    );
    let next = raise(AlarmKind::Drift, 90)
        .await
        .expect("the one before has ended");
    let drift = AlarmPage {
        kind: Some(AlarmKind::Drift),
        limit: 10,
        ..AlarmPage::default()
    };
    assert_eq!(
        list.watchlist.alarms(&drift).await.expect("read"),
        [next.clone(), ended.clone()]
    );
    let before = AlarmPage {
        before: Some(next.id),
        camera: Some("gate".to_owned()),
        ..drift.clone()
    };
    assert_eq!(list.watchlist.alarms(&before).await.expect("read"), [ended]);
    list.watchlist.forget(61, 0).await.expect("written");
    assert_eq!(list.watchlist.alarms(&drift).await.expect("read"), [next]);
}

async fn cameras_are_listed_worst_first(catalogue: &Handles) {
    let names = ["a", "b", "c", "d"];
    catalogue
        .rows
        .insert(names.map(frame).to_vec())
        .await
        .expect("inserted");
    catalogue
        .watchlist
        .raise(AlarmKind::Drift, "c", 10, "changed")
        .await
        .expect("written");
    catalogue
        .watchlist
        .raise(AlarmKind::Silent, "d", 20, "silent")
        .await
        .expect("written");
    let listed = async |limit, offset| {
        let cameras = catalogue
            .catalogue
            .cameras(limit, offset)
            .await
            .expect("cameras");
        cameras.into_iter().map(|c| c.camera).collect::<Vec<_>>()
    };
    assert_eq!(listed(10, 0).await, ["d", "c", "a", "b"]);
    assert_eq!(listed(2, 1).await, ["c", "a"]);
    assert!(listed(2, 4).await.is_empty());
    let cameras = catalogue.catalogue.cameras(2, 0).await.expect("cameras");
    assert_eq!(
        (cameras[0].silent_since_ms, cameras[1].changed_since_ms),
        (Some(20), Some(10))
    );
    let totals = catalogue
        .catalogue
        .totals(1_790_000_001_000)
        .await
        .expect("sums");
    assert_eq!(
        (totals.cameras, totals.cameras_live, totals.cameras_learning),
        (4, 4, 4)
    );
    assert_eq!(
        catalogue
            .catalogue
            .totals(1_790_000_001_001)
            .await
            .expect("sums")
            .cameras_live,
        0
    );
}

async fn frames_are_seen_in_their_order_and_learned_from(catalogue: &Handles) {
    let sent = vec![
        frame("gate"),
        label_only("gate"),
        frame("dock"),
        frame("gate"),
    ];
    catalogue.rows.insert(sent).await.expect("inserted");
    let seen = catalogue
        .watchlist
        .sightings("gate", 0, 10)
        .await
        .expect("frames");
    assert!(seen.is_sorted_by_key(|frame| frame.seq));
    let grids: Vec<_> = seen
        .iter()
        .map(|frame| frame.scene_grid.as_deref())
        .collect();
    assert_eq!(
        grids,
        [Some([128; 64].as_slice()), None, Some([128; 64].as_slice())]
    );
    let later = catalogue
        .watchlist
        .sightings("gate", seen[0].seq, 1)
        .await
        .expect("frames");
    assert_eq!(later, seen[1..2]);

    let learned = Learned {
        judged_seq: seen[1].seq,
        expected_ms: Some(500),
        scene: true,
        model: vec![1, 2, 3],
    };
    catalogue
        .watchlist
        .learn(
            "gate",
            &Learned {
                judged_seq: 0,
                ..learned.clone()
            },
        )
        .await
        .expect("written");
    catalogue
        .watchlist
        .learn("gate", &learned)
        .await
        .expect("written");
    assert_eq!(
        catalogue.watchlist.model("gate").await.expect("read"),
        Some(vec![1, 2, 3])
    );
    assert_eq!(catalogue.watchlist.model("dock").await.expect("read"), None);
    let watched = catalogue.watchlist.watched().await.expect("cameras");
    let told: Vec<_> = watched
        .iter()
        .map(|w| (w.camera_id.as_str(), w.judged_seq, w.expected_ms))
        .collect();
    assert_eq!(
        told,
        [
            ("dock", None, None),
            ("gate", Some(learned.judged_seq), Some(500))
        ]
    );
    assert_eq!(
        catalogue
            .catalogue
            .totals(0)
            .await
            .expect("sums")
            .cameras_learning,
        1
    );
}

async fn bytes_are_counted_by_day_node_and_camera(catalogue: &Handles) {
    let mut next_day = frame("gate");
    next_day.received_ms += 86_400_000;
    let sent = vec![frame("gate"), frame("gate"), frame("dock")];
    catalogue.rows.insert(sent).await.expect("inserted");
    catalogue
        .rows
        .insert(vec![next_day])
        .await
        .expect("inserted");
    catalogue
        .watchlist
        .came_again(DAY, "node", "dock", 150)
        .await
        .expect("written");
    let lines = async |by, from_day, camera: Option<&str>| {
        let camera = camera.map(str::to_owned);
        let span = TrafficSpan {
            from_day,
            by,
            camera,
            node: None,
        };
        let lines = catalogue.watchlist.traffic(&span).await.expect("sums");
        lines
            .into_iter()
            .map(|line| (line.name, line.bytes))
            .collect::<Vec<_>>()
    };
    let cameras = lines(TrafficBy::Camera, DAY, None).await;
    // Of 190 bytes a message 100 are latents, which 180 bytes of containers became, 40 the original, 30 the label.
    let (dock, gate) = (&cameras[0], &cameras[1]);
    assert_eq!(
        (dock.0.as_str(), dock.1.frames, dock.1.overhead_bytes),
        ("dock", 1, 20 + 150)
    );
    assert_eq!(
        (gate.0.as_str(), gate.1.frames, gate.1.source_bytes),
        ("gate", 3, 3000)
    );
    assert_eq!(
        (
            gate.1.latent_bytes,
            gate.1.original_bytes,
            gate.1.label_bytes
        ),
        (300, 120, 90)
    );
    assert_eq!(
        (
            gate.1.intra_bytes,
            gate.1.reference_bytes,
            gate.1.saved_bytes
        ),
        (0, 300, 240)
    );
    assert_eq!((gate.1.uplink(), gate.1.told_frames), (570, 3));
    let days = lines(TrafficBy::Day, DAY, Some("gate")).await;
    let frames: Vec<_> = days.iter().map(|(_, bytes)| bytes.frames).collect();
    assert_eq!(
        (frames, days[1].0.clone()),
        (vec![2, 1], (DAY + 1).to_string())
    );
    assert_eq!(lines(TrafficBy::Node, DAY + 1, None).await[0].1.frames, 1);
    catalogue
        .watchlist
        .forget(0, DAY + 1)
        .await
        .expect("written");
    assert_eq!(lines(TrafficBy::Day, 0, None).await.len(), 1);
}

async fn a_frame_knows_its_place(catalogue: &Handles) {
    let mut late = frame("gate");
    late.captured_ms -= 120_000;
    let live = frame("gate");
    let (late_id, live_id) = (late.id, live.id);
    catalogue
        .rows
        .insert(vec![late, live])
        .await
        .expect("inserted");
    let place = async |id| catalogue.catalogue.queue_position(id).await.expect("read");
    let (live, late) = (
        place(live_id).await.expect("it waits"),
        place(late_id).await.expect("it waits"),
    );
    assert_eq!((live.ahead, live.waiting), (0, 2), "live frames come first");
    assert_eq!((late.ahead, late.waiting), (1, 2));
    assert_eq!(live.oldest_received_ms, Some(1_790_000_001_000));
    catalogue.rows.failed(live_id, "x").await.expect("written");
    assert_eq!(place(live_id).await, None);
    assert_eq!(place(late_id).await.map(|place| place.ahead), Some(0));
}
