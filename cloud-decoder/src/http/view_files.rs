//! The files that each view of the dashboard needs, found from the imports of its modules, so that a browser can ask
//! for all of them at once.

use std::{collections::BTreeMap, path::Path};

use rust_embed::RustEmbed;

/// A JavaScript module whose default export has, for each view, its own module, the modules that this imports and the
/// page does not, and the styles that lie beside them under the same name.
pub(super) fn module<Web: RustEmbed>() -> String {
    let page = imported::<Web>("app.js");
    let mut views = BTreeMap::new();
    for file in Web::iter().filter(|file| is_view(file)) {
        let mut files = imported::<Web>(&file);
        files.retain(|file| !page.contains(file));
        let styles = files.iter().map(|file| file.replace(".js", ".css"));
        let styles: Vec<_> = styles.filter(|style| Web::get(style).is_some()).collect();
        files.extend(styles);
        let name = Path::new(&*file).file_stem().unwrap_or_default();
        views.insert(name.to_string_lossy().into_owned(), files);
    }
    let views = serde_json::to_string_pretty(&views).expect("texts are JSON");
    format!("export default {views};\n")
}

fn is_view(file: &str) -> bool {
    file.starts_with("views/") || file == "viewer/viewer.js"
}

/// A module and all its imports, each once, itself first.
fn imported<Web: RustEmbed>(module: &str) -> Vec<String> {
    let mut found = vec![module.to_owned()];
    let mut read = 0;
    while let Some(module) = found.get(read).cloned() {
        read += 1;
        let file = Web::get(&module).map(|file| file.data.into_owned());
        let text = String::from_utf8(file.unwrap_or_default()).unwrap_or_default();
        let imports = text.lines().filter(|line| line.starts_with("import "));
        for name in imports.filter_map(|line| line.split('"').nth(1)) {
            let path = resolved(&module, name);
            if !found.contains(&path) {
                found.push(path);
            }
        }
    }
    found
}

/// The path of the file that `module` names as `./NAME` or `../NAME`.
fn resolved(module: &str, name: &str) -> String {
    let mut parts: Vec<&str> = module.split('/').collect();
    parts.pop();
    for part in name.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
