//! The catalogue in SQLite on its own file.

use super::{Catalogue, Database, FrameRows};
use crate::frame::NewFrame;

fn frame() -> NewFrame {
    NewFrame {
        source_format: "x".repeat(1000),
        ..NewFrame::example()
    }
}

#[tokio::test]
async fn a_catalogue_on_a_full_disk_works_again_when_there_is_room() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("catalogue.sqlite");
    let database = Database::sqlite(&path).await.expect("catalogue");
    let (catalogue, rows) = (Catalogue(database.clone()), FrameRows(database));
    let first = frame();
    let id = first.id;
    rows.insert(vec![first]).await.expect("an empty disk");

    // A full disk and a full file end a transaction alike, by SQLite's own rollback.
    sqlx::query("PRAGMA max_page_count = 1")
        .execute(&rows.0.writer)
        .await
        .expect("the limit can be set");
    let many = || (0..200).map(|_| frame()).collect::<Vec<_>>();
    let refused = rows.insert(many()).await.expect_err("a full file");
    assert!(refused.to_string().contains("full"), "{refused}");

    // The failed connection is gone, and its limit with it.
    let stored = rows.insert(many()).await.expect("there is room again");
    assert_eq!(stored.iter().flatten().count(), 200);
    let failed = rows.failed(id, "test").await.expect("a transaction");
    assert!(failed.is_some());
    assert_eq!(catalogue.queued().await.expect("count"), 200);
}
