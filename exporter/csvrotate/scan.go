package csvrotate

import (
	"errors"
	"io"
)

// torn is what a scan of a file came to that was perhaps not written to its end.
type torn struct {
	header int64 // bytes of the header record; 0: it is not whole
	rows   int64 // whole records after the header
	good   int64 // where the last whole record ends
	size   int64
	// broken says that what comes after good is not the beginning of a record: it
	// was never written like this.
	broken bool
}

// scan reads CSV as we write it, in constant memory. It knows quotes: a line end
// within a quoted cell ends nothing. What breaks the format (a NUL, which is what a
// crash leaves in blocks that were never written; invalid UTF-8; a stray quote; a
// record of another width) ends it at the record before.
func scan(r io.Reader) (torn, error) {
	var (
		t       torn
		s       scanner
		columns int
		chunk   = make([]byte, 256<<10)
	)
	s.utf8.low, s.utf8.high = 0x80, 0xBF
	for {
		n, err := r.Read(chunk)
		for _, c := range chunk[:n] {
			t.size++
			if t.broken {
				continue
			}
			if t.size <= int64(len(bom)) && c == bom[t.size-1] && s.utf8.take(c) {
				continue
			}
			switch s.next(c) {
			case violation:
				t.broken = true
			case endOfRecord:
				switch {
				case s.bytes == 0:
					t.broken = true
				case t.header == 0:
					columns, t.header, t.good = s.cells, t.size, t.size
				case s.cells != columns:
					t.broken = true
				default:
					t.rows++
					t.good = t.size
				}
				s.cells, s.bytes = 0, 0
			}
		}
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return t, err
		}
	}
}

// bom may stand before the header.
const bom = "\uFEFF"

// event is what a byte comes to.
type event uint8

const (
	nothing event = iota
	endOfRecord
	violation
)

// scanner is where in a record we are.
type scanner struct {
	in    place
	cells int // cells of this record that have ended
	bytes int // of this record, without its end: a line without any is no record
	utf8  utf8Reader
}

type place uint8

const (
	atCell   place = iota // before the first byte of a cell
	plain                 // in a cell without quotes
	quoted                // in a cell with quotes
	quote                 // after a quote within a quoted cell: its end, or a doubled one
	lineFeed              // after a carriage return, which has to be a record's end
)

func (s *scanner) next(c byte) event {
	if c == 0 || !s.utf8.take(c) {
		return violation
	}
	if c != '\r' && c != '\n' {
		s.bytes++
	}
	switch s.in {
	case quoted:
		if c == '"' {
			s.in = quote
		}
		return nothing
	case lineFeed:
		if c != '\n' {
			return violation
		}
		return s.endRecord()
	case quote:
		if c == '"' {
			s.in = quoted
			return nothing
		}
	case atCell:
		if c == '"' {
			s.in = quoted
			return nothing
		}
	case plain:
		if c == '"' {
			return violation
		}
	}
	switch c {
	case ',':
		s.cells++
		s.in = atCell
	case '\r':
		s.in = lineFeed
	case '\n':
		return s.endRecord()
	default:
		if s.in == quote {
			return violation
		}
		s.in = plain
	}
	return nothing
}

func (s *scanner) endRecord() event {
	s.cells++
	s.in = atCell
	return endOfRecord
}

// utf8Reader checks UTF-8 a byte at a time: how many bytes are still to come, and
// the range of the next (Unicode 15, table 3-7).
type utf8Reader struct {
	left      int
	low, high byte
}

func (u *utf8Reader) take(c byte) bool {
	if u.left > 0 {
		if c < u.low || c > u.high {
			return false
		}
		u.left--
		u.low, u.high = 0x80, 0xBF
		return true
	}
	switch {
	case c < 0x80:
	case c >= 0xC2 && c <= 0xDF:
		u.left = 1
	case c >= 0xE0 && c <= 0xEF:
		u.left = 2
		switch c {
		case 0xE0:
			u.low = 0xA0
		case 0xED:
			u.high = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		u.left = 3
		switch c {
		case 0xF0:
			u.low = 0x90
		case 0xF4:
			u.high = 0x8F
		}
	default:
		return false
	}
	return true
}
