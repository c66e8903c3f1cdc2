//! The store's id, which catalogue and objects both carry. A catalogue of another store, or a new one in place of a
//! lost one, is noticed before anything is read or written.

use uuid::Uuid;

use super::{
    catalogue::{Catalogue, CatalogueError, Database, FrameRows},
    objects::{ObjectError, Objects},
};

/// Why catalogue and objects do not belong together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Objects(#[from] ObjectError),
    #[error(
        "the catalogue is of store {catalogue}, the objects are of store {objects}: use those that belong together"
    )]
    Apart { catalogue: Uuid, objects: Uuid },
    #[error(
        "the objects are of store {0}, and the catalogue is new or from before stores had ids: restore the catalogue from a backup, or let `cloud-decoder adopt` make its rows again from the objects"
    )]
    NoCatalogue(Uuid),
    #[error(
        "the catalogue is of store {0}, whose objects are not here: restore them from a backup, or let `cloud-decoder adopt` go on without them"
    )]
    NoObjects(Uuid),
}

/// Makes sure that catalogue and objects are of one store. Where neither has an id yet, both get one. A catalogue
/// without an id gets that of the objects, and the other way round, only if `adopting`.
pub(crate) async fn pair(
    database: &Database,
    objects: &Objects,
    adopting: bool,
) -> Result<(), IdentityError> {
    let (catalogue, rows) = (Catalogue(database.clone()), FrameRows(database.clone()));
    // Another process may be pairing them just now: the catalogue must say the same before and after the objects do.
    let mut own = catalogue.store().await?;
    let theirs = loop {
        let theirs = objects.store_id().await?;
        let still = catalogue.store().await?;
        if still == own {
            break theirs;
        }
        own = still;
    };
    match (own, theirs) {
        (Some(own), Some(theirs)) if own.id != theirs => {
            return Err(IdentityError::Apart {
                catalogue: own.id,
                objects: theirs,
            });
        }
        (Some(own), Some(_)) if own.paired => return Ok(()),
        (Some(own), None) if own.paired && !adopting => {
            return Err(IdentityError::NoObjects(own.id));
        }
        (None, Some(theirs)) if !adopting => return Err(IdentityError::NoCatalogue(theirs)),
        _ => {}
    }
    // If several processes do this at the same time, one of them gives the catalogue its id.
    let id = theirs.unwrap_or_else(Uuid::now_v7);
    rows.name_store(id).await?;
    let own = catalogue.store().await?.map_or(id, |own| own.id);
    if theirs.is_none() {
        objects.name_store(own).await?;
        // If several catalogues do this at the same time, one of them gives the objects its id.
        let objects = objects.store_id().await?.unwrap_or(own);
        if objects != own {
            return Err(IdentityError::Apart {
                catalogue: own,
                objects,
            });
        }
    }
    rows.pair_store().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn processes_that_start_at_once_agree_on_one_store() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().expect("temporary folder");
            let file = folder.path().join("catalogue.sqlite");
            let database = Database::sqlite(&file).await.expect("catalogue");
            let objects = Objects::local(folder.path()).expect("objects");
            let pairing = (0..8).map(|_| {
                let (database, objects) = (database.clone(), objects.clone());
                tokio::spawn(async move { pair(&database, &objects, false).await })
            });
            for paired in join_all(pairing).await {
                paired.expect("no panic").expect("paired");
            }
            let own = Catalogue(database)
                .store()
                .await
                .expect("asked")
                .expect("named");
            let theirs = objects.store_id().await.expect("asked");
            assert_eq!((Some(own.id), own.paired), (theirs, true));
        }
    }
}
