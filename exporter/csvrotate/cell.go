package csvrotate

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/asyncinspect/asyncinspect/internal/spreadsheet"
)

// recordEnd is the one of RFC 4180.
const recordEnd = "\r\n"

// replacement stands for a NUL and for each byte that is no UTF-8.
const replacement = "\uFFFD"

// What a byte in a text asks for.
const (
	asksQuotes   = 1 << iota // a separator: the cell is quoted
	asksCleaning             // NUL, or not ASCII and so perhaps not UTF-8
)

var asks = func() (t [256]uint8) {
	for _, c := range `",` + "\r\n" {
		t[c] = asksQuotes
	}
	t[0] = asksCleaning
	for c := 0x80; c < 0x100; c++ {
		t[c] = asksCleaning
	}
	return t
}()

// appendText writes a text cell. An empty text is an empty cell, which is null.
func appendText(dst []byte, s string, defuse bool) []byte {
	if s == "" {
		return dst
	}
	var asked uint8
	for i := 0; i < len(s); i++ {
		asked |= asks[s[i]]
	}
	// Some readers trim what is not quoted.
	quoted := asked&asksQuotes != 0 || s[0] == ' ' || s[len(s)-1] == ' '
	if quoted {
		dst = append(dst, '"')
	}
	if defuse && spreadsheet.IsFormula(s) {
		dst = append(dst, '\'')
	}
	if asked == 0 {
		dst = append(dst, s...)
	} else {
		dst = appendClean(dst, s)
	}
	if quoted {
		dst = append(dst, '"')
	}
	return dst
}

// appendClean writes the inside of a cell: quotes doubled, what no reader takes
// replaced.
func appendClean(dst []byte, s string) []byte {
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"':
			dst = append(append(dst, s[from:i]...), `""`...)
		case c == 0:
			dst = append(append(dst, s[from:i]...), replacement...)
		case c < utf8.RuneSelf:
			i++
			continue
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
			dst = append(append(dst, s[from:i]...), replacement...)
		}
		i++
		from = i
	}
	return append(dst, s[from:]...)
}

// appendValue writes an attribute: text as text, numbers and booleans plain, bytes
// in base64, lists and maps as JSON.
func appendValue(dst []byte, v pcommon.Value, defuse bool) []byte {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return appendText(dst, v.Str(), defuse)
	case pcommon.ValueTypeInt:
		return strconv.AppendInt(dst, v.Int(), 10)
	case pcommon.ValueTypeDouble:
		return appendFloat(dst, v.Double())
	case pcommon.ValueTypeBool:
		return strconv.AppendBool(dst, v.Bool())
	case pcommon.ValueTypeBytes:
		return appendBytes(dst, v.Bytes())
	case pcommon.ValueTypeMap, pcommon.ValueTypeSlice:
		return append(appendJSON(append(dst, '"'), v), '"')
	}
	return dst
}

// appendFloat writes a number as JSON does, and the three that JSON does not know
// by the names that DuckDB, pandas and SQLite understand.
func appendFloat(dst []byte, f float64) []byte {
	if n := int64(f); float64(n) == f && n > -1<<53 && n < 1<<53 && (n != 0 || !math.Signbit(f)) {
		return strconv.AppendInt(dst, n, 10) // most are whole, and this is three times as fast
	}
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}

func appendBytes(dst []byte, b pcommon.ByteSlice) []byte {
	// AsRaw would copy; a byte at a time costs nothing where bytes are this rare.
	var group [3]byte
	for i := 0; i < b.Len(); i += len(group) {
		n := min(len(group), b.Len()-i)
		for j := range n {
			group[j] = b.At(i + j)
		}
		dst = base64.StdEncoding.AppendEncode(dst, group[:n])
	}
	return dst
}

// jsonQuote is a quotation mark of JSON inside a quoted cell.
const jsonQuote = `""`

// appendJSON writes a value as JSON for the inside of a quoted cell: every
// quotation mark is doubled on the way, so that nothing is written twice.
func appendJSON(dst []byte, v pcommon.Value) []byte {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return appendJSONString(dst, v.Str())
	case pcommon.ValueTypeDouble:
		if f := v.Double(); math.IsNaN(f) || math.IsInf(f, 0) {
			return append(appendFloat(append(dst, jsonQuote...), f), jsonQuote...)
		}
		return appendFloat(dst, v.Double())
	case pcommon.ValueTypeInt, pcommon.ValueTypeBool:
		return appendValue(dst, v, false)
	case pcommon.ValueTypeBytes:
		return append(appendBytes(append(dst, jsonQuote...), v.Bytes()), jsonQuote...)
	case pcommon.ValueTypeMap:
		return appendJSONMap(dst, v.Map())
	case pcommon.ValueTypeSlice:
		dst = append(dst, '[')
		for i := range v.Slice().Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, v.Slice().At(i))
		}
		return append(dst, ']')
	}
	return append(dst, "null"...)
}

func appendJSONMap(dst []byte, m pcommon.Map) []byte {
	dst = append(dst, '{')
	first := true
	for key, v := range m.All() {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendJSONString(dst, key), ':')
		dst = appendJSON(dst, v)
	}
	return append(dst, '}')
}

// plainJSON holds the bytes that stand for themselves in a JSON string in a cell.
var plainJSON = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, jsonQuote...)
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plainJSON[c] {
			i++
			continue
		}
		n := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, n = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"':
			dst = append(dst, `\""`...)
		case '\\':
			dst = append(dst, `\\`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			if c == 0 || c >= utf8.RuneSelf {
				dst = append(dst, replacement...)
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
		}
		i += n
		from = i
	}
	return append(append(dst, s[from:]...), jsonQuote...)
}

const hexDigits = "0123456789abcdef"

// hexPairs has the two digits of each byte, as they stand in memory.
var hexPairs = func() (t [256]uint16) {
	for c := range t {
		t[c] = uint16(hexDigits[c>>4]) | uint16(hexDigits[c&15])<<8
	}
	return t
}()

func appendTraceID(dst []byte, id [16]byte) []byte {
	n := len(dst)
	dst = slices.Grow(dst, 2*len(id))[:n+2*len(id)]
	text := (*[32]byte)(dst[n:])
	for i, b := range id {
		binary.LittleEndian.PutUint16(text[2*i:], hexPairs[b])
	}
	return dst
}

func appendSpanID(dst []byte, id [8]byte) []byte {
	n := len(dst)
	dst = slices.Grow(dst, 2*len(id))[:n+2*len(id)]
	text := (*[16]byte)(dst[n:])
	for i, b := range id {
		binary.LittleEndian.PutUint16(text[2*i:], hexPairs[b])
	}
	return dst
}
