// Package words writes what is known for people at a terminal: places, ages, numbers
// and names that anybody may have sent.
package words

import (
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/asyncinspect/asyncinspect/internal/report"
)

// Place is written so that a terminal or an editor finds the line.
func Place(p report.Place) string {
	text := p.Function
	if p.File != "" {
		file := p.File
		// The last two elements tell files apart; the rest is the build machine's.
		if dir, name := path.Split(file); dir != "" {
			file = path.Join(path.Base(dir), name)
		}
		text = strings.TrimSpace(text + " " + file + ":" + strconv.Itoa(p.Line))
	}
	return OneLine(text)
}

// Callers writes who called a place, the nearest first; empty if that is not known.
func Callers(places []report.Place) string {
	texts := make([]string, len(places))
	for i, p := range places {
		texts[i] = Place(p)
	}
	return strings.Join(texts, " ← ")
}

// OneLine keeps names that anybody may have sent from forging lines of the log,
// or speaking to the terminal.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// Age writes a duration to three digits or so.
func Age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

// Number writes n with commas between the thousands.
func Number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// lineLength is where Wrap breaks lines, without the indent.
const lineLength = 90

// Wrap breaks a text into lines, of which all but the first begin with indent.
func Wrap(text, indent string) string {
	var b strings.Builder
	column := 0
	for i, paragraph := range strings.Split(text, "\n") {
		if i > 0 {
			b.WriteString("\n" + indent)
			column = 0
		}
		for _, word := range strings.Fields(paragraph) {
			if column > 0 && column+1+len(word) > lineLength {
				b.WriteString("\n" + indent)
				column = 0
			}
			if column > 0 {
				b.WriteByte(' ')
				column++
			}
			b.WriteString(word)
			column += len(word)
		}
	}
	return b.String()
}
