// Package spreadsheet knows what spreadsheets make of the text of a CSV cell.
package spreadsheet

import "unicode"

// IsFormula reports whether a spreadsheet may run a text instead of showing it: whether
// it begins with =, +, -, @, one of their full-width forms, a tab or a line end.
//
// Apostrophes, spaces and invisible characters before that are looked through. Some
// spreadsheets trim the latter; and since apostrophes make no difference, one that is
// put before a formula can be taken away again without a doubt.
//
// https://owasp.org/www-community/attacks/CSV_Injection
func IsFormula(text string) bool {
	for _, r := range text {
		switch r {
		case '=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠':
			return true
		case '\'', ' ':
			continue
		}
		// Most texts begin with a letter, and end here.
		if r > ' ' && r <= unicode.MaxASCII || !unicode.IsSpace(r) && !unicode.Is(unicode.Cf, r) {
			return false
		}
	}
	return false
}

// Defuse puts an apostrophe before a text that a spreadsheet may run.
func Defuse(text string) string {
	if IsFormula(text) {
		return "'" + text
	}
	return text
}
