//! Writes every template that everybody has as an HTML page into a folder, with its examples and an example brand. The
//! logo is a drawing inside the page, so that nothing is fetched. `ops/template-images` makes pictures of them.

use std::path::PathBuf;

use anyhow::Context;
use omnibus_mailer::content::Content;
use omnibus_schemas::brand::Brand;

const LIGHT: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='160' height='40'%3E%3Ccircle \
                     cx='20' cy='20' r='16' fill='%239a3412'/%3E%3Ctext x='44' y='27' font-family='Georgia, serif' \
                     font-size='22' fill='%231b2430'%3ENorthwind%3C/text%3E%3C/svg%3E";

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).context("say the folder to write into")?);
    std::fs::create_dir_all(&folder)?;
    let (content, brand) = (Content::new()?, Brand::example());
    let logo = brand.logo.clone().context("the example has a logo")?;
    let dark = LIGHT.replace("%239a3412", "%23fdba74").replace("%231b2430", "%23e8ecf2");
    for name in content.names() {
        let parts = content.specimen(name, &brand).context("the template is there")?;
        let parts = parts.map_err(|faults| anyhow::anyhow!("{name}: {faults:?}"))?;
        let html = parts.html.context("every template has HTML")?;
        let html = html.replace(logo.dark_url.as_deref().unwrap_or_default(), &dark).replace(&logo.url, LIGHT);
        std::fs::write(folder.join(format!("{name}.html")), html)?;
    }
    Ok(())
}
