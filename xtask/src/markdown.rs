//! Documents: links that lead somewhere, and the commands that a document promises to work.

use std::collections::BTreeMap;
use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::repository::Repository;
use crate::violation::Violation;

/// A command in a block tagged `sh run`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DocumentedCommand {
    /// The line, from 1, where the command stands.
    pub(crate) line: usize,
    /// The command, continued lines joined.
    pub(crate) text: String,
}

/// Checks that every relative link leads to a file, and its fragment to a heading.
pub(crate) fn check_links(repository: &Repository) -> Vec<Violation> {
    let documents = || repository.below("", ".md");
    let headings: BTreeMap<&str, Vec<String>> = documents()
        .map(|(path, text)| (path, anchors(text)))
        .collect();
    let mut violations = Vec::new();
    for (path, text) in documents() {
        for (line, link) in links(text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if file.is_empty() {
                Some(path.to_owned())
            } else {
                resolve(path, file)
            };
            let Some(target) = target.filter(|target| repository.exists(target)) else {
                let what = format!("the link to {link} leads nowhere");
                violations.push(Violation::new(
                    path,
                    line,
                    what,
                    "link to a file that exists",
                ));
                continue;
            };
            let anchors = headings.get(target.as_str());
            if !fragment.is_empty()
                && anchors.is_some_and(|anchors| anchors.iter().all(|anchor| anchor != fragment))
            {
                let what = format!("{target} has no heading #{fragment}");
                violations.push(Violation::new(path, line, what, "link to a heading it has"));
            }
        }
    }
    violations
}

/// The commands of the blocks whose info string is `sh run`, in order. A line that starts with `#`
/// is a comment; one that ends in `\` goes on.
pub(crate) fn commands(text: &str) -> Vec<DocumentedCommand> {
    let mut commands: Vec<DocumentedCommand> = Vec::new();
    let mut goes_on = false;
    for (line, code) in marked_lines(text) {
        let part = code.trim_end_matches('\\');
        match commands.last_mut() {
            Some(command) if goes_on => command.text.push_str(part),
            _ => commands.push(DocumentedCommand {
                line,
                text: part.to_owned(),
            }),
        }
        goes_on = part.len() < code.len();
    }
    commands
}

/// The lines of code in blocks to be run, with their numbers.
fn marked_lines(text: &str) -> Vec<(usize, &str)> {
    let mut marked = false;
    let mut lines = Vec::new();
    for (event, range) in events(text) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                marked = info.split_whitespace().eq(["sh", "run"]);
            }
            Event::End(TagEnd::CodeBlock) => marked = false,
            Event::Text(_) if marked => {
                let first = line_of(text, &range);
                let numbered = text[range].lines().enumerate();
                lines.extend(numbered.map(|(index, line)| (first + index, line.trim())));
            }
            _ => {}
        }
    }
    lines.retain(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
}

fn events(text: &str) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
    Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES).into_offset_iter()
}

fn line_of(text: &str, range: &Range<usize>) -> usize {
    text[..range.start].matches('\n').count() + 1
}

fn links(text: &str) -> Vec<(usize, String)> {
    events(text)
        .filter_map(|(event, range)| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some((line_of(text, &range), dest_url.into_string()))
            }
            _ => None,
        })
        .collect()
}

/// The fragments of a document's headings, as code hosts derive them: lower case, without
/// punctuation, spaces as hyphens, repeated ones numbered.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors = Vec::new();
    let mut heading: Option<String> = None;
    for (event, _) in events(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&part);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let slug: String = heading
                    .take()
                    .unwrap_or_default()
                    .to_lowercase()
                    .chars()
                    .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                    .map(|c| if c == ' ' { '-' } else { c })
                    .collect();
                let before = (1..).map(|n| format!("{slug}-{n}"));
                let unused = std::iter::once(slug.clone()).chain(before);
                anchors.extend(
                    unused
                        .filter(|a| !anchors.contains(a))
                        .take(1)
                        .collect::<Vec<_>>(),
                );
            }
            _ => {}
        }
    }
    anchors
}

/// The path that `link` means in the document at `path`; `None` if it leaves the repository.
fn resolve(path: &str, link: &str) -> Option<String> {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut parts: Vec<&str> = directory
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(files: [(&str, &str); 2]) -> Vec<(String, usize)> {
        let found = check_links(&Repository::of(files));
        found.into_iter().map(|v| (v.path, v.line)).collect()
    }

    #[test]
    fn links_to_files_directories_and_headings_resolve() {
        let guide =
            "# A `b`, c\n\n[up](../README.md) [here](#a-b-c) [dir](../docs/) [w](https://a.b)";
        let readme = "[guide](docs/guide.md#a-b-c)\n![self][r]\n\n[r]: ./README.md\n";
        assert!(broken([("docs/guide.md", guide), ("README.md", readme)]).is_empty());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_named_with_its_line() {
        for bad in [
            "[a](gone.md)",
            "![a](gone.png)",
            "[a](../x.md)",
            "[a](docs/guide.md#gone)",
            "[a](#gone)",
            "[a][r]\n\n[r]: gone.md",
        ] {
            let readme = format!("# Title\n\n{bad}\n");
            let files = [
                ("docs/guide.md", "# There\n"),
                ("README.md", readme.as_str()),
            ];
            assert_eq!(broken(files), [("README.md".to_owned(), 3)], "{bad}");
        }
    }

    #[test]
    fn links_in_code_are_not_links() {
        let readme = "`[a](gone.md)`\n\n```\n[a](gone.md)\n```\n";
        assert!(broken([("a.md", ""), ("README.md", readme)]).is_empty());
    }

    #[test]
    fn repeated_headings_are_numbered() {
        assert_eq!(anchors("# A\n## A\n# B_b!\n"), ["a", "a-1", "b_b"]);
    }

    #[test]
    fn only_blocks_marked_to_be_run_are_commands() {
        let text = "```sh\nno\n```\n\n```sh run\n# why\nfirst --a\n\nsecond \\\n  --b\n```\n\
                    \n```text\nno\n```\n\n~~~sh run\nthird\n~~~\n";
        let found = commands(text);
        let found: Vec<_> = found.iter().map(|c| (c.line, c.text.as_str())).collect();
        assert_eq!(found, [(7, "first --a"), (9, "second --b"), (18, "third")]);
    }
}
