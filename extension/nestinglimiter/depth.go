package nestinglimiter

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// errTooDeep means that more than the limit of arrays and maps are in each other.
var errTooDeep = errors.New("nested too deeply")

// level is a message that the walk is in, and what is left of it.
type level struct {
	of   message
	rest []byte
}

// check walks through an encoded request. It returns errTooDeep, or what is wrong with
// the encoding, for a decoder may read on where this walk does not.
func check(body []byte, of message, limit int) error {
	var room [32]level // for most requests it is all that is needed
	stack := append(room[:0], level{of, body})
	depth := 0
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if len(top.rest) == 0 {
			if nests(top.of) {
				depth--
			}
			stack = stack[:len(stack)-1]
			continue
		}
		in, content, err := top.next()
		if err != nil {
			return err
		}
		if in == opaque {
			continue
		}
		if nests(in) {
			if depth++; depth > limit {
				return errTooDeep
			}
		}
		stack = append(stack, level{in, content})
	}
	return nil
}

func nests(m message) bool { return m == array || m == list }

// next takes the next field; opaque: it holds no attributes.
func (l *level) next() (message, []byte, error) {
	// Most fields are a byte for the tag, a byte for the length, and a content.
	if b := l.rest; len(b) >= 2 && b[0] < 0x80 && b[0]&7 == byte(protowire.BytesType) && b[0]>>3 > 0 && int(b[1]) <= min(0x7f, len(b)-2) {
		l.rest = b[2+b[1]:]
		return fields[l.of].of(uint64(b[0] >> 3)), b[2 : 2+b[1]], nil
	}
	field, kind, n := protowire.ConsumeTag(l.rest)
	if n < 0 {
		return opaque, nil, protowire.ParseError(n)
	}
	l.rest = l.rest[n:]
	if kind != protowire.BytesType {
		if n = protowire.ConsumeFieldValue(field, kind, l.rest); n < 0 {
			return opaque, nil, protowire.ParseError(n)
		}
		l.rest = l.rest[n:]
		return opaque, nil, nil
	}
	content, n := protowire.ConsumeBytes(l.rest)
	if n < 0 {
		return opaque, nil, protowire.ParseError(n)
	}
	l.rest = l.rest[n:]
	return fields[l.of].of(uint64(field)), content, nil
}

const (
	// bracketsAround are the brackets of JSON around the outermost value of an attribute,
	// and some more; bracketsOfLevel the most of one array or map in it.
	bracketsAround  = 16
	bracketsOfLevel = 4
)

// checkJSON counts the brackets of a request in JSON. It returns errTooDeep where check
// does or a little later; mistakes are the decoder's to report.
func checkJSON(body []byte, limit int) error {
	limit = bracketsAround + bracketsOfLevel*limit
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return errTooDeep
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}
