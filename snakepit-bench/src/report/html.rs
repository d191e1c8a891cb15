//! A report as one page that needs nothing else: no script, no font, no other file.

use super::svg::{self, escape};
use super::wording::{self, number};
use super::{Gate, Part, Report, Section, Table, markdown};

/// The whole page.
pub fn render(report: &Report) -> String {
    let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.push_str("<title>Snakepit: benchmark report</title>\n<style>\n");
    page.push_str(include_str!("page.css"));
    page.push_str("</style>\n<h1>Benchmark report</h1>\n");
    head(&mut page, report);
    for section in &report.sections {
        self::section(&mut page, section);
    }
    page.push_str("</html>\n");
    page
}

fn head(page: &mut String, report: &Report) {
    let run = &report.run;
    page.push_str("<div class=\"wide\"><table>");
    for (name, value) in [
        ("Command", format!("<code>{}</code>", escape(&run.command))),
        ("Machine", escape(&wording::machine(&run.machine))),
        ("Versions", escape(&wording::versions(run))),
        ("Commit", escape(&wording::commit(run))),
        ("Begun", format!("{}, took {:.0} s", escape(&run.started), run.seconds)),
    ] {
        page.push_str(&format!("<tr><th>{name}</th><td>{value}</td></tr>"));
    }
    page.push_str("</table></div>\n");
    paragraph(page, &wording::reading());
    paragraph(page, &wording::cores(report));
    page.push_str("<nav><ul>");
    for section in &report.sections {
        page.push_str(&format!("<li><a href=\"#{0}\">{0}</a></li>", escape(&section.id)));
    }
    page.push_str("</ul></nav>\n<h2>Gates and failures</h2>\n");
    let (kept, all) =
        (report.gates().filter(|(_, gate)| gate.kept).count(), report.gates().count());
    paragraph(page, &format!("{kept} of {all} gates are kept."));
    page.push_str("<ul>");
    for (section, gate) in report.gates().filter(|(_, gate)| !gate.kept) {
        let (value, bound) = (number(gate.value), wording::bound(gate.bound));
        let what = escape(&format!("{}: {}: {value} ({bound})", section.id, gate.claim));
        page.push_str(&format!("<li><span class=\"bad\">missed</span> {what}</li>"));
    }
    for (section, failure) in report.failures() {
        let what = escape(&format!("{}: {failure}", section.id));
        page.push_str(&format!("<li><span class=\"bad\">failed</span> {what}</li>"));
    }
    page.push_str("</ul>\n");
}

fn section(page: &mut String, section: &Section) {
    let (id, command) = (escape(&section.id), escape(&section.command));
    page.push_str(&format!("<section id=\"{id}\"><h2>{id}</h2>\n"));
    page.push_str(&format!(
        "<p class=\"quiet\"><code>{command}</code> ({:.0} s)</p>\n",
        section.seconds
    ));
    for failure in &section.failures {
        page.push_str(&format!("<p class=\"bad\">Failed: {}</p>\n", escape(failure)));
    }
    for part in &section.parts {
        self::part(page, part, &section.command);
    }
    page.push_str("</section>\n");
}

fn part(page: &mut String, part: &Part, command: &str) {
    page.push_str(&format!("<h3>{}</h3>\n", escape(&part.title)));
    part.notes.iter().for_each(|note| paragraph(page, note));
    part.tables.iter().for_each(|table| figure(page, table, command));
    if !part.claims.is_empty() {
        open_table(page, &["what", "the original", "here", "what the difference means"], 0);
        for claim in &part.claims {
            let original = claim.original.as_deref().unwrap_or("not known");
            row(page, &[&claim.about, original, &claim.measured, &claim.meaning], 0);
        }
        page.push_str("</table></div>\n");
    }
    if !part.gates.is_empty() {
        open_table(page, &["gate", "value", "95 % interval", "bound", "verdict"], 3);
        part.gates.iter().for_each(|gate| self::gate(page, gate));
        page.push_str("</table></div>\n");
    }
}

fn figure(page: &mut String, table: &Table, command: &str) {
    page.push_str("<figure>");
    page.push_str(&svg::chart(table));
    let measure =
        if table.measure.is_empty() { String::new() } else { format!("{}, ", table.measure) };
    let better = match table.better {
        super::Better::More => "more is better",
        super::Better::Less => "less is better",
    };
    page.push_str(&format!(
        "<figcaption><code>{}</code>: {}{} ({better}); measured by <code>{}</code></figcaption>",
        escape(&table.workload),
        escape(&measure),
        escape(&table.unit),
        escape(command)
    ));
    page.push_str("<details><summary>figures</summary>");
    figures(page, table);
    page.push_str("</details>");
    for growth in &table.growth {
        let axis = table.axis.as_deref().unwrap_or_default();
        paragraph(page, &wording::growth(growth, axis));
    }
    page.push_str("</figure>\n");
}

fn figures(page: &mut String, table: &Table) {
    let axis = table.axis.as_deref().unwrap_or("at");
    let mut columns =
        vec!["contender", axis, "median", "95 % interval", "samples", "lowest … highest"];
    let over = table.over.as_ref().map(|over| format!("over {over}"));
    columns.extend(over.as_deref());
    open_table(page, &columns, 6);
    for series in &table.series {
        let summary = &series.summary;
        let cells = [
            series.contender.clone(),
            series.at.map_or_else(String::new, markdown::plain),
            number(summary.median),
            wording::interval(summary.confidence),
            series.samples.len().to_string(),
            wording::spread(series),
            wording::measured(table.beside(series)),
        ];
        row(page, &cells.each_ref().map(String::as_str)[..columns.len()], 6);
    }
    page.push_str("</table></div>");
}

fn gate(page: &mut String, gate: &Gate) {
    let class = if gate.kept { "good" } else { "bad" };
    page.push_str(&format!(
        "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"{class}\">{}</td></tr>",
        escape(&gate.claim),
        number(gate.value),
        wording::interval(gate.confidence),
        wording::bound(gate.bound),
        wording::verdict(gate)
    ));
}

/// Begins a table of which so many columns after the first hold numbers.
fn open_table(page: &mut String, names: &[&str], numbers: usize) {
    page.push_str("<div class=\"wide\"><table><tr>");
    for (column, name) in names.iter().enumerate() {
        let class = if (1..=numbers).contains(&column) { " class=\"n\"" } else { "" };
        page.push_str(&format!("<th{class}>{}</th>", escape(name)));
    }
    page.push_str("</tr>");
}

fn row(page: &mut String, cells: &[&str], numbers: usize) {
    page.push_str("<tr>");
    for (column, cell) in cells.iter().enumerate() {
        let class = if (1..=numbers).contains(&column) { " class=\"n\"" } else { "" };
        page.push_str(&format!("<td{class}>{}</td>", escape(cell)));
    }
    page.push_str("</tr>");
}

fn paragraph(page: &mut String, text: &str) {
    page.push_str(&format!("<p>{}</p>\n", escape(text)));
}
