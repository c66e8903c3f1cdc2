//! The behaviour of an object store.

use bytes::Bytes;
use cloud_decoder::store::objects::{Kind, Objects};
use futures::TryStreamExt as _;
use uuid::Uuid;

/// Runs all checks.
pub async fn all(objects: &Objects) {
    objects.try_out().await.expect("they can be used");
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let put = async |kind, id, bytes: &'static [u8]| {
        let put = objects.put(kind, id, Bytes::from_static(bytes)).await;
        put.expect("put");
    };
    let get = async |kind, id| objects.get(kind, id).await.expect("asked");
    assert_eq!(get(Kind::Latents, first).await, None);
    put(Kind::Latents, first, b"latents").await;
    put(Kind::Original, first, b"old").await;
    put(Kind::Original, first, b"original").await;
    put(Kind::Latents, second, b"others").await;
    let original = get(Kind::Original, first).await;
    assert_eq!(original.as_deref(), Some(&b"original"[..]));
    let size = async |kind| objects.size(kind, first).await.expect("asked");
    assert_eq!(size(Kind::Original).await, Some(8));
    assert_eq!(size(Kind::Thumbnail).await, None);

    let create = async |bytes: &'static [u8]| {
        let created = objects.create(Kind::Thumbnail, first, Bytes::from_static(bytes));
        created.await.expect("asked")
    };
    assert!(create(b"first").await, "there is none yet");
    assert!(!create(b"second").await, "there is one");
    let kept = get(Kind::Thumbnail, first).await;
    assert_eq!(kept.as_deref(), Some(&b"first"[..]));

    let id = Uuid::now_v7();
    assert_eq!(objects.store_id().await.expect("asked"), None);
    objects.name_store(id).await.expect("named");
    assert_eq!(objects.store_id().await.expect("asked"), Some(id));

    // Larger than the parts in which S3 gets them.
    let large: Vec<u8> = (0..40 << 20).map(|n: u32| (n >> 8) as u8).collect();
    let large = Bytes::from(large);
    let kind = Kind::Reconstruction;
    objects.put(kind, first, large.clone()).await.expect("put");
    let opened = objects.open(kind, first).await.expect("asked");
    let opened = opened.expect("it is there");
    assert_eq!(opened.length, 40 << 20);
    let pieces: Vec<Bytes> = opened.pieces.try_collect().await.expect("read");
    assert!(pieces.concat() == large, "it comes back as it went");

    let listed = objects.list(Kind::Latents).try_collect::<Vec<_>>().await;
    let mut listed: Vec<_> = listed.expect("listed").iter().map(|o| o.0).collect();
    listed.sort();
    assert_eq!(listed, [first, second]);
    let delete = objects.delete_one(Kind::Original, first).await;
    delete.expect("deleted");
    assert_eq!(get(Kind::Original, first).await, None);
    // A missing object counts as deleted.
    objects.delete(first).await.expect("deleted");
    objects.delete(first).await.expect("deleted");
    let listed = objects.list(Kind::Latents).try_collect::<Vec<_>>().await;
    let listed: Vec<_> = listed.expect("listed").iter().map(|o| o.0).collect();
    assert_eq!(listed, [second]);
}
