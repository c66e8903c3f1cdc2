//! The edge node is killed right after a 202, over and over: each of these frames has to arrive.

use anyhow::{Result, ensure};

use crate::{answer_log::Answer, ledger::Ledger, pictures::Picture, site::Site};

/// How often a line is printed.
const REPORT: u64 = 50;

/// Posts a frame to a new process and kills the process at its answer, many times.
pub(crate) async fn kills(times: u64, seed: u64) -> Result<Ledger> {
    let site = Site::pair(seed, Picture::plain, &[]).await?;
    let mut ledger = Ledger::default();
    site.cloud().service.start().await?;
    let run = async {
        for kill in 1..=times {
            site.edge().service.start().await?;
            let at = site.edge().service.listening();
            let at = at.expect("it was started, and nothing else kills it");
            let answer = site.answers.post(&site.caller, 0, at.http).await?;
            site.edge().service.kill().await?;
            ensure!(
                matches!(answer, Answer::Accepted(_)),
                "frame {kill}: {answer:?}"
            );
            if kill % REPORT == 0 {
                println!("{kill} kills");
            }
        }
        site.edge().service.start().await?;
        site.settle(&mut ledger).await;
        site.audit(&mut ledger).await
    };
    tokio::select! {
        result = run => result?,
        () = site.guide() => {}
    }
    ledger.note("kills after a 202", times);
    Ok(ledger)
}
