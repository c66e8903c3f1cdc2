//! Variables that Kubernetes and Docker set in a container for neighbouring services: for a service named `edge-node`,
//! `EDGE_NODE_SERVICE_HOST`, `EDGE_NODE_PORT=tcp://10.0.0.1:8080` and so on. They look like our settings.

/// Whether a variable describes a service whose name begins as our settings do. A setting in a section has two
/// underscores; these variables do not.
pub(crate) fn is_link(prefix: &str, name: &str, value: &str) -> bool {
    let Some(rest) = name.strip_prefix(prefix).and_then(|r| r.strip_prefix('_')) else {
        return false;
    };
    if rest.contains("__") {
        return false;
    }
    // The service's name may be longer than ours, so words may come before these.
    let after = |word: &str| {
        let (before, after) = rest.split_once(word)?;
        let whole = before.is_empty() || before.ends_with('_');
        whole.then_some(after)
    };
    let ends = |after: Option<&str>| after.is_some_and(|a| a.is_empty() || a.starts_with('_'));
    after("SERVICE_HOST") == Some("")
        || ends(after("SERVICE_PORT"))
        || after("PORT").is_some_and(|after| match after {
            "" => value.contains("://"),
            after => of_port(after).is_some(),
        })
}

/// Parses `_8080_TCP` and its suffixes.
fn of_port(text: &str) -> Option<()> {
    let (port, rest) = text.strip_prefix('_')?.split_once('_')?;
    port.parse::<u16>().ok()?;
    let (protocol, rest) = rest.split_once('_').unwrap_or((rest, ""));
    let known = ["TCP", "UDP", "SCTP"].contains(&protocol);
    (known && ["", "PROTO", "PORT", "ADDR"].contains(&rest)).then_some(())
}
