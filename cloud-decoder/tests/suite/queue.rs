//! The behaviour of a decode queue.

use std::{collections::BTreeSet, time::Duration};

use cloud_decoder::{
    frame::{Frame, NewFrame},
    store::{
        catalogue::AttemptEnd,
        queue::{Claim, Queue},
    },
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Handles, frame};

/// Longer than anything here takes.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A catalogue and the queue beside it.
pub type Pair = (Handles, Box<dyn Queue>);

/// Runs all checks below, on new queues.
pub async fn all(mut new: impl AsyncFnMut() -> Pair) {
    every_frame_is_taken_once(new().await).await;
    what_is_given_back_comes_again(new().await).await;
    what_was_cut_short_is_told(new().await).await;
    what_waits_no_more_is_not_given(new().await).await;
    an_empty_queue_lets_go(new().await).await;
}

async fn offer(pair: &Pair, frames: Vec<NewFrame>) -> Vec<Frame> {
    let rows = pair.0.rows.insert(frames).await.expect("inserted");
    let rows: Vec<_> = rows.into_iter().flatten().collect();
    pair.1.offer(&rows, false).await.expect("offered");
    rows
}

async fn take(queue: &dyn Queue) -> Claim {
    let stop = CancellationToken::new();
    let take = async {
        loop {
            if let Some(claim) = queue.take(&stop).await.expect("taken") {
                return claim;
            }
        }
    };
    timeout(LIMIT, take).await.expect("in time")
}

async fn every_frame_is_taken_once(pair: Pair) {
    let frames: Vec<_> = (0..20).map(|_| frame("gate")).collect();
    let sent: BTreeSet<_> = frames.iter().map(|frame| frame.id).collect();
    let rows = offer(&pair, frames).await;
    // A process that did not see its offer answered makes it again.
    pair.1.offer(&rows, false).await.expect("offered");
    let mut taken = Vec::new();
    for _ in 0..20 {
        let claim = take(&*pair.1).await;
        assert_eq!(claim.frame.attempts, 1);
        taken.push(claim);
    }
    let ids: BTreeSet<_> = taken.iter().map(|claim| claim.frame.new.id).collect();
    assert_eq!(ids, sent);
    let more = pair.1.take(&CancellationToken::new()).await;
    assert!(more.expect("asked").is_none(), "no frame is there twice");
    for claim in taken {
        let id = claim.frame.new.id;
        pair.0.rows.failed(id, "test").await.expect("written");
        pair.1.done(claim).await.expect("done");
    }
}

async fn what_is_given_back_comes_again(pair: Pair) {
    offer(&pair, vec![frame("gate")]).await;
    let queue = &*pair.1;
    let back = async |claim: Claim, end| {
        let delay = Duration::from_millis(1);
        let given = queue.give_back(&claim, delay, end).await;
        given.expect("given back");
    };
    let first = take(queue).await;
    assert_eq!(first.frame.attempts, 1);
    back(first, AttemptEnd::Failed).await;
    let second = take(queue).await;
    assert_eq!(second.frame.attempts, 2);
    back(second, AttemptEnd::NotItsFault).await;
    let third = take(queue).await;
    assert_eq!(third.frame.attempts, 2, "the second did not count");
    assert_eq!(third.frame.begun, 1, "the first two have ended");
}

/// The claims of a process end with it: they count neither as attempts nor as deaths, unless that was noted.
async fn what_was_cut_short_is_told(pair: Pair) {
    let id = offer(&pair, vec![frame("gate")]).await[0].new.id;
    let (catalogue, queue) = (&pair.0, &*pair.1);
    assert!(catalogue.catalogue.has_untried().await.expect("asked"));
    let claim = take(queue).await;
    assert!(!catalogue.catalogue.has_untried().await.expect("asked"));
    catalogue.rows.mark_alone(id).await.expect("noted");
    let begun = catalogue
        .catalogue
        .get(id)
        .await
        .expect("asked")
        .expect("there");
    assert_eq!((begun.attempts, begun.begun, begun.deaths), (0, 1, 1));
    let back = queue.give_back(&claim, Duration::from_millis(1), AttemptEnd::NotBegun);
    back.await.expect("given back");
    let begun = catalogue
        .catalogue
        .get(id)
        .await
        .expect("asked")
        .expect("there");
    assert_eq!((begun.attempts, begun.begun, begun.deaths), (0, 0, 1));
    let claim = take(queue).await;
    let back = queue.give_back(&claim, Duration::from_millis(1), AttemptEnd::Failed);
    back.await.expect("given back");
    let ended = catalogue
        .catalogue
        .get(id)
        .await
        .expect("asked")
        .expect("there");
    assert_eq!((ended.attempts, ended.begun, ended.deaths), (1, 0, 0));
}

async fn what_waits_no_more_is_not_given(pair: Pair) {
    let frames = vec![frame("gate"), frame("gate")];
    let (settled, waiting) = (frames[0].id, frames[1].id);
    offer(&pair, frames).await;
    pair.0.rows.failed(settled, "test").await.expect("written");
    assert_eq!(take(&*pair.1).await.frame.new.id, waiting);
}

async fn an_empty_queue_lets_go(pair: Pair) {
    let (_catalogue, queue) = pair;
    let stop = CancellationToken::new();
    let none = timeout(LIMIT, queue.take(&stop)).await.expect("in time");
    assert!(none.expect("asked").is_none());
    stop.cancel();
    let none = timeout(LIMIT, queue.take(&stop)).await.expect("in time");
    assert!(none.expect("asked").is_none());
    timeout(LIMIT, queue.capacity())
        .await
        .expect("there is room");
    assert_eq!(queue.recover().await.expect("compared"), 0);
}
