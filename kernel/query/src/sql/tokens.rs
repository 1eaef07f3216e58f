//! Spellings that the SQL parser does not know, turned into ones that it does, token by token. Every token keeps its place in the
//! text, so that problems are still found where they were written.

mod joins;
mod pivot;
mod sample;
mod small;

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

/// The tokens as the parser is to see them.
pub(super) fn prepare(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut tokens =
        Tokens(tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect());
    small::power(&mut tokens);
    small::hex_numbers(&mut tokens);
    small::from_first(&mut tokens);
    small::tables(&mut tokens);
    small::materialized(&mut tokens);
    small::filter(&mut tokens);
    small::lambdas(&mut tokens);
    small::comprehensions(&mut tokens);
    small::exclude_in_frames(&mut tokens);
    small::limit_percent(&mut tokens);
    joins::asof_and_positional(&mut tokens);
    sample::table_samples(&mut tokens);
    sample::using_samples(&mut tokens);
    pivot::statements(&mut tokens);
    tokens.0
}

/// Words that end a condition or an item of FROM where they stand outside of parentheses.
const CLAUSES: &[&str] = &[
    "JOIN",
    "LEFT",
    "RIGHT",
    "FULL",
    "INNER",
    "CROSS",
    "NATURAL",
    "SEMI",
    "ANTI",
    "ASOF",
    "POSITIONAL",
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "QUALIFY",
    "WINDOW",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "FETCH",
    "USING",
    "SELECT",
    "TABLESAMPLE",
    "PREWHERE",
    "LATERAL",
];

/// Tokens without white space.
struct Tokens(Vec<TokenWithSpan>);

impl Tokens {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, at: usize) -> Option<&Token> {
        self.0.get(at).map(|token| &token.token)
    }

    fn is(&self, at: usize, token: &Token) -> bool {
        self.get(at) == Some(token)
    }

    fn is_word(&self, at: usize, word: &str) -> bool {
        matches!(self.get(at), Some(Token::Word(found))
            if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }

    fn is_any_word(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is_word(at, word))
    }

    fn is_name(&self, at: usize) -> bool {
        matches!(self.get(at), Some(Token::Word(_)))
    }

    fn is_number(&self, at: usize) -> bool {
        matches!(self.get(at), Some(Token::Number(..)))
    }

    /// The place of a token; the end of the text behind the last one.
    fn span(&self, at: usize) -> Span {
        match self.0.get(at).or_else(|| self.0.last()) {
            Some(token) => token.span,
            None => Span::new(Location::new(1, 1), Location::new(1, 1)),
        }
    }

    /// Does a bracket open here (1), close (-1), or neither (0)?
    fn depth(&self, at: usize) -> i32 {
        match self.get(at) {
            Some(Token::LParen | Token::LBracket | Token::LBrace) => 1,
            Some(Token::RParen | Token::RBracket | Token::RBrace) => -1,
            _ => 0,
        }
    }

    /// The first token from `at` on, outside of brackets, for which `stop` says so; or the bracket that closes around it; or the end.
    fn until(&self, mut at: usize, stop: impl Fn(&Self, usize) -> bool) -> usize {
        let mut depth = 0;
        while at < self.len() {
            if depth == 0 && stop(self, at) {
                return at;
            }
            depth += self.depth(at);
            if depth < 0 {
                return at;
            }
            at += 1;
        }
        at
    }

    /// The end of what surrounds `at`: the bracket that closes it, or the end of the text.
    fn end_of_query(&self, at: usize) -> usize {
        self.until(at, |_, _| false)
    }

    /// Does a clause's word stand here, not a function of that name?
    fn is_clause(&self, at: usize) -> bool {
        let function = self.is_any_word(at, &["LEFT", "RIGHT"]) && self.is(at + 1, &Token::LParen);
        let distinct_from = self.is_word(at, "FROM") && at > 0 && self.is_word(at - 1, "DISTINCT");
        !function && !distinct_from && self.is_any_word(at, CLAUSES)
    }

    /// The bracket that closes the one at `open`.
    fn close_of(&self, open: usize) -> Option<usize> {
        let at = self.end_of_query(open + 1);
        (at < self.len()).then_some(at)
    }

    /// Replaces a range of tokens by others.
    fn splice(&mut self, from: usize, to: usize, with: impl IntoIterator<Item = TokenWithSpan>) {
        let to = to.min(self.len());
        self.0.splice(from.min(to)..to, with);
    }

    fn insert(&mut self, at: usize, token: TokenWithSpan) {
        let at = at.min(self.len());
        self.0.insert(at, token);
    }

    fn slice(&self, from: usize, to: usize) -> Vec<TokenWithSpan> {
        self.0.get(from..to.min(self.len())).unwrap_or_default().to_vec()
    }
}

/// A bare word at a place.
fn word(text: &str, span: Span) -> TokenWithSpan {
    TokenWithSpan::new(Token::make_word(text, None), span)
}

/// Punctuation at a place.
fn mark(token: Token, span: Span) -> TokenWithSpan {
    TokenWithSpan::new(token, span)
}

/// A string at a place.
fn string(text: &str, span: Span) -> TokenWithSpan {
    TokenWithSpan::new(Token::SingleQuotedString(text.to_owned()), span)
}

#[cfg(test)]
mod tests {
    use sqlparser::tokenizer::Tokenizer;

    use super::*;
    use crate::sql::dialect::Carrel;

    /// The tokens of a text after all rewrites, as text.
    fn prepared(sql: &str) -> String {
        let tokens = Tokenizer::new(&Carrel, sql).tokenize_with_location().unwrap();
        let texts: Vec<_> = prepare(tokens).iter().map(|token| token.token.to_string()).collect();
        texts.join(" ")
    }

    #[test]
    fn spellings() {
        for (sql, is) in [
            ("SELECT 2**3, a * b", "SELECT 2 ^ 3 , a * b"),
            ("WITH a AS NOT MATERIALIZED (SELECT 1) SELECT 1", "WITH a AS ( SELECT 1 ) SELECT 1"),
            ("SELECT count(*) FILTER (x > 1)", "SELECT count ( * ) FILTER ( WHERE x > 1 )"),
            ("SELECT count(*) FILTER (WHERE x)", "SELECT count ( * ) FILTER ( WHERE x )"),
            ("SELECT [x+1 FOR x IN [1,2] IF x > 1]", "SELECT list_transform ( list_filter ( [ 1 , 2 ] , __lambda ( x ) x > 1 ) , __lambda ( x ) x + 1 )"),
            ("SELECT list_reduce(l, (a, b) -> a + b, 0), j -> 'a'", "SELECT list_reduce ( l , __lambda ( a , b ) a + b , 0 ) , j -> 'a'"),
            ("SELECT f(lambda x, i: x + i, 1)", "SELECT f ( __lambda ( x , i ) x + i , 1 )"),
            ("SELECT sum(x) FROM (FROM t WHERE y)", "SELECT sum ( x ) FROM ( SELECT * FROM t WHERE y )"),
            ("SELECT * FROM (FROM t SELECT x)", "SELECT * FROM ( FROM t SELECT x )"),
            ("SELECT 0x1f, X'1f'", "SELECT 31 , X'1f'"),
            ("SELECT [a[1], 2]", "SELECT [ a [ 1 ] , 2 ]"),
            (
                "SELECT sum(x) OVER (PARTITION BY g ORDER BY x ROWS 1 PRECEDING EXCLUDE TIES) FROM t",
                "SELECT sum ( x ) OVER ( PARTITION BY __exclude ( 'ties' ) , g ORDER BY x ROWS 1 PRECEDING ) FROM t",
            ),
            (
                "SELECT sum(x) OVER (w ROWS 1 PRECEDING EXCLUDE CURRENT ROW)",
                "SELECT sum ( x ) OVER ( w PARTITION BY __exclude ( 'current row' ) ROWS 1 PRECEDING )",
            ),
            ("SELECT 1 LIMIT 10% OFFSET 1", "SELECT 1 LIMIT __percent ( 10 ) OFFSET 1"),
            ("SELECT 1 LIMIT 10 % 3", "SELECT 1 LIMIT 10 % 3"),
            (
                "SELECT * FROM a ASOF LEFT JOIN b AS x ON a.k = b.k AND a.t >= b.t WHERE left(a.s, 1) = 'x'",
                "SELECT * FROM a LEFT JOIN b AS x ON __asof ( a.k = b.k AND a.t >= b.t ) WHERE left ( a.s , 1 ) = 'x'"
                    .replace('.', " . ").as_str(),
            ),
            (
                "SELECT * FROM a ASOF JOIN (SELECT 1) b USING (k, t), c",
                "SELECT * FROM a JOIN ( SELECT 1 ) b USING ( __asof , k , t ) , c",
            ),
            ("SELECT * FROM a POSITIONAL JOIN b", "SELECT * FROM a JOIN b ON __positional ( )"),
            ("SELECT * FROM t TABLESAMPLE 10% WHERE x", "SELECT * FROM t TABLESAMPLE ( 10 PERCENT ) WHERE x"),
            ("SELECT * FROM t TABLESAMPLE reservoir(20 ROWS) x", "SELECT * FROM t TABLESAMPLE ROW ( 20 ROWS ) x"),
            (
                "SELECT * FROM t TABLESAMPLE BERNOULLI (10 PERCENT) REPEATABLE (42)",
                "SELECT * FROM t TABLESAMPLE BERNOULLI ( 10 PERCENT ) REPEATABLE ( 42 )",
            ),
            (
                "SELECT * FROM t, u WHERE x > 1 GROUP BY y USING SAMPLE 5 PERCENT (bernoulli, 7) ORDER BY 1",
                "SELECT * FROM t , u PREWHERE __sample ( 'bernoulli' , 5 , 'percent' , 7 ) WHERE x > 1 GROUP BY y ORDER BY 1",
            ),
            (
                "FROM t USING SAMPLE 100",
                "FROM t PREWHERE __sample ( 'row' , 100 , 'rows' )",
            ),
            (
                "PIVOT t ON a, b IN (1, 2) USING sum(x) AS s, count(*) GROUP BY g, h ORDER BY g LIMIT 3",
                "SELECT * FROM __pivot ( ( SELECT * FROM t ) , __on ( a , b IN ( 1 , 2 ) ) , __using ( s => sum ( x ) , \
                 count ( * ) ) , __group ( g , h ) ) ORDER BY g LIMIT 3",
            ),
            (
                "SELECT * FROM (PIVOT (SELECT 1) ON a USING max(x)) p",
                "SELECT * FROM ( SELECT * FROM __pivot ( ( SELECT * FROM ( SELECT 1 ) ) , __on ( a ) , __using ( max ( x ) ) ) ) p",
            ),
            (
                "UNPIVOT t ON (a, b) AS x, c INTO NAME n VALUE v, w",
                "SELECT * FROM __unpivot ( ( SELECT * FROM t ) , __on ( x => ( a , b ) , c ) , __into ( n , v , w ) )",
            ),
            ("SELECT * FROM (SUMMARIZE t)", "SELECT * FROM ( SELECT * FROM __summarize ( ( SELECT * FROM t ) ) )"),
            (
                "SELECT * FROM (DESCRIBE SELECT 1 x)",
                "SELECT * FROM ( SELECT * FROM __describe ( ( SELECT 1 x ) ) )",
            ),
        ] {
            assert_eq!(prepared(sql), is, "{sql}");
        }
    }
}
