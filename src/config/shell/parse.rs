//! From the text of a configuration file to the few commands that are read without a shell.
//!
//! The grammar is that of the POSIX shell (XCU 2.2 quoting, 2.6.2 parameter expansion, 2.9.1 simple
//! commands), cut down to assignments, `export`, `unset` and the empty command. Whatever a shell could
//! understand beyond that, or shells disagree on, ends the parsing with [`Stop::Shell`]; this parser never
//! guesses.

use super::syntax::{Action, Assignment, Command, Modifier, ModifierKind, Parsed, Piece, Stop, Word};
use crate::config::variables::{continues_name, is_name, starts_name};

/// Parses a whole file.
///
/// # Errors
/// The first reason why this is not for us, even if there is more of the file.
pub(super) fn parse(text: &[u8]) -> Parsed<Vec<Command>> {
    parse_from(text, 1)
}

/// Parses the part of a file that begins with this line.
///
/// # Errors
/// As for [`parse`].
pub(super) fn parse_from(text: &[u8], line: usize) -> Parsed<Vec<Command>> {
    let mut parser = Parser { text, at: 0, line };
    let mut commands = Vec::new();
    loop {
        parser.skip_blanks();
        match parser.peek() {
            None => return Ok(commands),
            Some(b'\n') => parser.advance(),
            Some(b'#') => parser.skip_comment(),
            Some(_) => commands.push(parser.command()?),
        }
    }
}

/// Where the pieces of a word end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// At a blank or an operator; the flag says whether `~` counts after `=` and `:` (an assignment).
    Word { assignment: bool },
    /// At the `}` of an expansion outside double quotes, or of a pattern anywhere.
    Brace,
}

/// A word of a command line, before the command is known.
enum Token {
    Assignment(Assignment),
    Word(Word),
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl Parser<'_> {
    /// The next byte, after any backslashes that end a line (XCU 2.2.1).
    fn peek(&mut self) -> Option<u8> {
        while self.text[self.at..].starts_with(b"\\\n") {
            self.at += 2;
            self.line += 1;
        }
        self.text.get(self.at).copied()
    }

    /// The next byte as it stands, for places where a backslash is no continuation.
    fn raw(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Steps over the byte that `peek` or `raw` has shown.
    fn advance(&mut self) {
        if self.raw() == Some(b'\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn shell<T>(&self, what: impl Into<String>) -> Parsed<T> {
        Err(Stop::Shell(self.line, what.into()))
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.advance();
        }
    }

    fn skip_comment(&mut self) {
        while self.raw().is_some_and(|byte| byte != b'\n') {
            self.advance();
        }
    }

    /// One simple command, with the `;` that ends it, if one does.
    fn command(&mut self) -> Parsed<Command> {
        let line = self.line;
        let mut tokens = Vec::new();
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some(b'\n') => break,
                Some(b'#') => self.skip_comment(),
                Some(b';') if tokens.is_empty() => return self.shell("a `;` without a command before it"),
                Some(b';') => {
                    self.advance();
                    if self.peek() == Some(b';') {
                        return self.shell("`;;`");
                    }
                    break;
                }
                Some(operator @ (b'&' | b'|' | b'<' | b'>' | b'(' | b')')) => {
                    return match (operator, tokens.as_slice()) {
                        (b'(', [Token::Word(_)]) => self.shell("a function"),
                        _ => self.shell(format!("`{}`", char::from(operator))),
                    };
                }
                Some(_) => tokens.push(self.token()?),
            }
        }
        Ok(Command { line, action: action(line, tokens)? })
    }

    fn token(&mut self) -> Parsed<Token> {
        let line = self.line;
        let start = self.name();
        if !start.is_empty() && self.peek() == Some(b'=') {
            self.advance();
            let word = self.pieces(End::Word { assignment: true }, Vec::new())?;
            return Ok(Token::Assignment(Assignment { line, name: start, word }));
        }
        let mut pieces = Vec::new();
        text(&mut pieces, start.as_bytes(), false);
        Ok(Token::Word(self.pieces(End::Word { assignment: false }, pieces)?))
    }

    /// As much of a name as stands here, which may be nothing.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(byte) = self.peek() {
            if !(if name.is_empty() { starts_name(byte) } else { continues_name(byte) }) {
                break;
            }
            name.push(char::from(byte));
            self.advance();
        }
        name
    }

    /// The pieces of a word outside double quotes, after those that the caller has.
    fn pieces(&mut self, end: End, mut pieces: Word) -> Parsed<Word> {
        let opened = self.line;
        let mut may_be_tilde = pieces.is_empty();
        loop {
            let Some(byte) = self.peek() else {
                return match end {
                    End::Word { .. } => Ok(pieces),
                    End::Brace => Err(Stop::Syntax(opened, "`${` without its `}`".into())),
                };
            };
            match (byte, end) {
                (b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')', End::Word { .. }) => {
                    return Ok(pieces);
                }
                (b'}', End::Brace) => {
                    self.advance();
                    return Ok(pieces);
                }
                // Whether the expansion goes on there depends on the shell.
                (b'\n', End::Brace) => return self.shell("a line break inside `${…}`"),
                (b'~', _) if may_be_tilde => self.tilde(end, &mut pieces)?,
                (b'\\', _) => {
                    self.advance();
                    // The byte after it is literal, also if it is a backslash at the end of its line.
                    let Some(escaped) = self.raw() else {
                        return self.shell("a backslash at the end of the file");
                    };
                    text(&mut pieces, &[escaped], true);
                    self.advance();
                }
                (b'\'', _) => self.single_quotes(&mut pieces)?,
                (b'"', _) => self.double_quotes(&mut pieces)?,
                (b'$', _) => self.dollar(false, &mut pieces)?,
                (b'`', _) => return self.shell("a command substitution"),
                _ => {
                    text(&mut pieces, &[byte], false);
                    self.advance();
                }
            }
            may_be_tilde = byte == b':' && end != (End::Word { assignment: false });
        }
    }

    fn tilde(&mut self, end: End, pieces: &mut Word) -> Parsed<()> {
        self.advance();
        match (self.peek(), end) {
            (None | Some(b'/' | b':' | b' ' | b'\t' | b'\n' | b';'), End::Word { assignment: true }) => {
                pieces.push(Piece::Home);
                Ok(())
            }
            _ => self.shell("a `~` that needs more than HOME"),
        }
    }

    fn single_quotes(&mut self, pieces: &mut Word) -> Parsed<()> {
        let opened = self.line;
        self.advance();
        let start = self.at;
        loop {
            match self.raw() {
                None => return Err(Stop::Syntax(opened, "a single quote that is never closed".into())),
                Some(b'\'') => break,
                Some(_) => self.advance(),
            }
        }
        let quoted = &self.text[start..self.at];
        text(pieces, quoted, true);
        self.advance();
        Ok(())
    }

    fn double_quotes(&mut self, pieces: &mut Word) -> Parsed<()> {
        let opened = self.line;
        self.advance();
        loop {
            match self.peek() {
                None => return Err(Stop::Syntax(opened, "a double quote that is never closed".into())),
                Some(b'"') => break,
                Some(b'\\') => {
                    self.advance();
                    match self.raw() {
                        // XCU 2.2.3: only before these is a backslash an escape.
                        Some(escaped @ (b'$' | b'`' | b'"' | b'\\')) => {
                            text(pieces, &[escaped], true);
                            self.advance();
                        }
                        _ => text(pieces, b"\\", true),
                    }
                }
                Some(b'$') => self.dollar(true, pieces)?,
                Some(b'`') => return self.shell("a command substitution"),
                Some(byte) => {
                    text(pieces, &[byte], true);
                    self.advance();
                }
            }
        }
        self.advance();
        Ok(())
    }

    fn dollar(&mut self, quoted: bool, pieces: &mut Word) -> Parsed<()> {
        self.advance();
        match self.peek() {
            Some(b'{') => {
                self.advance();
                pieces.push(self.braces(quoted)?);
            }
            Some(b'(') => return self.shell("a command substitution"),
            Some(byte) if starts_name(byte) => {
                pieces.push(Piece::Parameter { name: self.name(), modifier: None, quoted });
            }
            Some(byte @ (b'0'..=b'9' | b'@' | b'*' | b'#' | b'?' | b'-' | b'$' | b'!')) => {
                return self.shell(format!("`${}`", char::from(byte)));
            }
            // Plain in some shells, another kind of quotes in others.
            Some(quote @ (b'\'' | b'"')) if !quoted => {
                return self.shell(format!("`${}`", char::from(quote)));
            }
            _ => text(pieces, b"$", quoted),
        }
        Ok(())
    }

    /// `${NAME…}` after its brace.
    fn braces(&mut self, quoted: bool) -> Parsed<Piece> {
        let opened = self.line;
        let name = self.name();
        if name.is_empty() {
            return self.shell("an expansion `${…}` of something that is no name");
        }
        let colon = self.peek() == Some(b':');
        if colon {
            self.advance();
        }
        let Some(operator) = self.peek() else {
            return Err(Stop::Syntax(opened, "`${` without its `}`".into()));
        };
        let kind = match operator {
            b'}' if !colon => {
                self.advance();
                return Ok(Piece::Parameter { name, modifier: None, quoted });
            }
            b'-' => ModifierKind::Default { colon },
            b'=' => ModifierKind::Assign { colon },
            b'+' => ModifierKind::Alternative { colon },
            b'%' if !colon => ModifierKind::Suffix,
            b'#' if !colon => ModifierKind::Prefix,
            b'\n' => return self.shell("a line break inside `${…}`"),
            _ => {
                let colon = if colon { ":" } else { "" };
                return self.shell(format!("`${{{name}{colon}{}…}}`", char::from(operator)));
            }
        };
        self.advance();
        let pattern = matches!(kind, ModifierKind::Suffix | ModifierKind::Prefix);
        if pattern && self.peek() == Some(operator) {
            self.advance();
        }
        let word = if quoted && !pattern { self.quoted_braces(opened)? } else { self.brace_word()? };
        Ok(Piece::Parameter { name, modifier: Some(Modifier { kind, word }), quoted })
    }

    fn brace_word(&mut self) -> Parsed<Word> {
        self.pieces(End::Brace, Vec::new())
    }

    /// The word in `"${NAME:-word}"`. Shells disagree on quotes and backslashes in it.
    fn quoted_braces(&mut self, opened: usize) -> Parsed<Word> {
        let mut pieces = Vec::new();
        loop {
            match self.peek() {
                None => return Err(Stop::Syntax(opened, "`${` without its `}`".into())),
                Some(b'}') => break,
                Some(byte @ (b'"' | b'\'' | b'\\' | b'~')) => {
                    return self.shell(format!("`{}` inside `\"${{…}}\"`", char::from(byte)));
                }
                Some(b'`') => return self.shell("a command substitution"),
                Some(b'$') => self.dollar(true, &mut pieces)?,
                Some(byte) => {
                    text(&mut pieces, &[byte], true);
                    self.advance();
                }
            }
        }
        self.advance();
        Ok(pieces)
    }
}

/// What the words of a command mean together.
fn action(line: usize, tokens: Vec<Token>) -> Parsed<Action> {
    let shell = |what: String| Err(Stop::Shell(line, what));
    let mut assignments = Vec::new();
    let mut rest = tokens.into_iter().peekable();
    while let Some(Token::Assignment(_)) = rest.peek() {
        if let Some(Token::Assignment(assignment)) = rest.next() {
            assignments.push(assignment);
        }
    }
    let Some(Token::Word(first)) = rest.next() else { return Ok(Action::Assign(assignments)) };
    let name = plain(&first).map(|name| String::from_utf8_lossy(name).into_owned());
    match (name.as_deref(), assignments.is_empty()) {
        (Some("export"), true) => {
            let exports = rest.map(|token| match token {
                Token::Assignment(Assignment { name, word, .. }) => Some((name, Some(word))),
                Token::Word(word) => Some((plain_name(&word)?, None)),
            });
            match exports.collect::<Option<Vec<_>>>() {
                Some(exports) if !exports.is_empty() => Ok(Action::Export(exports)),
                _ => shell("an `export` of something that is no name".into()),
            }
        }
        (Some("unset"), true) => {
            let mut names = rest.map(|token| match token {
                Token::Word(word) => plain_name(&word),
                Token::Assignment(_) => None,
            });
            match names.by_ref().collect::<Option<Vec<_>>>() {
                Some(names) if !names.is_empty() => Ok(Action::Unset(names)),
                _ => shell("an `unset` of something that is no name".into()),
            }
        }
        (Some(":" | "true"), true) => {
            let words = rest.map(|token| match token {
                Token::Word(word) => word,
                Token::Assignment(assignment) => assignment.word,
            });
            Ok(Action::Nothing(words.collect()))
        }
        (Some(name), _) => shell(format!("the command `{name}`")),
        (None, _) => shell("a command".into()),
    }
}

/// The word if no part of it is quoted or expanded.
fn plain(word: &Word) -> Option<&[u8]> {
    match word.as_slice() {
        [Piece::Text { bytes, quoted: false }] => Some(bytes),
        _ => None,
    }
}

fn plain_name(word: &Word) -> Option<String> {
    let name = std::str::from_utf8(plain(word)?).ok()?;
    is_name(name).then(|| name.to_owned())
}

/// Adds bytes to a word, to the last piece where that is of the same kind.
fn text(pieces: &mut Word, added: &[u8], quoted: bool) {
    match pieces.last_mut() {
        Some(Piece::Text { bytes, quoted: same }) if *same == quoted => bytes.extend_from_slice(added),
        _ if added.is_empty() && !quoted => {}
        _ => pieces.push(Piece::Text { bytes: added.to_vec(), quoted }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(text: &str) -> Stop {
        match parse(text.as_bytes()) {
            Err(stop) => stop,
            Ok(commands) => panic!("{text:?} was read as {commands:?}"),
        }
    }

    #[test]
    fn what_no_shell_understands_is_told_with_its_line() {
        for (text, line, what) in [
            ("A=1\nB='x\ny\n", 2, "a single quote that is never closed"),
            ("A=1\n\n  B=\"x\\\"\n", 3, "a double quote that is never closed"),
            ("A=\\\n${B\n", 2, "a line break inside"),
            ("A=${B:-x", 1, "`${` without its `}`"),
            ("A=\"${B:-x\"\n", 1, "`\"` inside"),
        ] {
            let (Stop::Syntax(found, said) | Stop::Shell(found, said)) = stop(text);
            assert_eq!(found, line, "{text:?}: {said}");
            assert!(said.contains(what), "{text:?}: {said}");
        }
    }

    // S17: whatever is not plain goes to the shell, and the message says what it was.
    #[test]
    fn what_needs_a_shell_is_told_with_its_line() {
        for (text, line, what) in [
            ("A=1\nB=$(echo x)\n", 2, "a command substitution"),
            ("A=`echo x`\n", 1, "a command substitution"),
            ("A=\"`echo x`\"\n", 1, "a command substitution"),
            ("A=$((1+1))\n", 1, "a command substitution"),
            ("\nif true; then A=1; fi\n", 2, "the command `if`"),
            ("[ -d /x ] && A=1\n", 1, "`&`"),
            ("helper() {\n A=1\n}\n", 1, "a function"),
            ("A=1 B=2 command\n", 1, "the command `command`"),
            ("A=1 export B\n", 1, "the command `export`"),
            ("A+=1\n", 1, "the command `A+=1`"),
            ("A = 1\n", 1, "the command `A`"),
            ("A=x;;\n", 1, "`;;`"),
            ("A=1 >/dev/null\n", 1, "`>`"),
            ("A=$1\n", 1, "`$1`"),
            ("A=${#B}\n", 1, "no name"),
            ("A=${B:?x}\n", 1, "`${B:?…}`"),
            ("A=${B:2:3}\n", 1, "`${B:2…}`"),
            ("A=$'x'\n", 1, "`$'`"),
            ("A=$\"x\"\n", 1, "`$\"`"),
            ("A=~root/x\n", 1, "`~`"),
            ("export\n", 1, "`export`"),
            ("export -p\n", 1, "`export`"),
            ("unset -f x\n", 1, "`unset`"),
            ("A=x\\", 1, "a backslash at the end"),
            (". /etc/other\n", 1, "the command `.`"),
            ("\"A\"=1\n", 1, "a command"),
        ] {
            let Stop::Shell(found, said) = stop(text) else { panic!("{text:?} is called a mistake") };
            assert_eq!(found, line, "{text:?}: {said}");
            assert!(said.contains(what), "{text:?}: {said}");
        }
    }

    #[test]
    fn each_command_knows_its_line() {
        let commands = parse(b"# c\nA=1; B=2\nC=\\\n'x\ny' D=1\n\nexport E F=2 # c\nunset G").unwrap();
        let lines: Vec<usize> = commands.iter().map(|command| command.line).collect();
        assert_eq!(lines, [2, 2, 3, 7, 8]);
        let Action::Assign(third) = &commands[2].action else { panic!("no assignment") };
        assert_eq!((third[0].line, third[1].line), (3, 5));
    }
}
