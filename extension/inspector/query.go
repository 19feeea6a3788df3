package inspector

import (
	"encoding/hex"
	"errors"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

const (
	maxQueryBytes  = 16 << 10
	maxTextBytes   = 256
	maxCursorBytes = 8 << 10
	maxLimit       = 10_000
	defaultLimit   = 100
)

// query reads the parameters of a request. The first that cannot be used is the
// error, and one that nobody has read is one, too.
type query struct {
	path   string
	values url.Values
	read   map[string]bool
	err    *problem
}

func newQuery(u *url.URL) *query {
	q := &query{path: u.Path, read: make(map[string]bool)}
	if len(u.RawQuery) > maxQueryBytes {
		q.err = badParameter("query", "must not be longer than %d bytes, is %d", maxQueryBytes, len(u.RawQuery))
		return q
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		q.err = badParameter("query", "cannot be read: %v", err)
		return q
	}
	q.values = values
	return q
}

func (q *query) fail(name, format string, args ...any) {
	if q.err == nil {
		q.err = badParameter(name, format, args...)
	}
}

// done returns the problem with the parameters, if there is one.
func (q *query) done() error {
	var names []string
	for name := range q.values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch {
		case name == "":
			q.fail("query", "has a parameter without a name")
		case !q.read[name]:
			q.fail(shortened(name), "is not a parameter of %s", q.path)
		}
	}
	if q.err != nil {
		return q.err
	}
	return nil
}

// shortened keeps an answer from repeating whatever was sent.
func shortened(s string) string {
	if len(s) > 64 {
		s = strings.ToValidUTF8(s[:64], "") + "..."
	}
	return s
}

// one returns the value of a parameter that may be there once.
func (q *query) one(name string, maxBytes int) (value string, ok bool) {
	q.read[name] = true
	all := q.values[name]
	switch {
	case len(all) == 0:
		return "", false
	case len(all) > 1:
		q.fail(name, "must not be repeated")
		return "", false
	case len(all[0]) > maxBytes:
		q.fail(name, "must not be longer than %d bytes, is %d", maxBytes, len(all[0]))
		return "", false
	case !utf8.ValidString(all[0]):
		q.fail(name, "must be UTF-8")
		return "", false
	}
	return all[0], true
}

func (q *query) text(name string) string {
	v, _ := q.one(name, maxTextBytes)
	return v
}

func (q *query) number(name string, standard, lo, hi int) int {
	v, ok := q.one(name, maxTextBytes)
	if !ok {
		return standard
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < lo || n > hi {
		q.fail(name, "must be a whole number between %d and %d, is %q", lo, hi, shortened(v))
		return standard
	}
	return n
}

func (q *query) limit() int { return q.number("limit", defaultLimit, 1, maxLimit) }

// boolean is nil if the parameter is absent.
func (q *query) boolean(name string) *bool {
	v, ok := q.one(name, maxTextBytes)
	if !ok {
		return nil
	}
	if v != "true" && v != "false" {
		q.fail(name, "must be true or false, is %q", shortened(v))
		return nil
	}
	b := v == "true"
	return &b
}

// choice returns one of the values, the first of them if the parameter is absent.
func (q *query) choice(name string, values ...string) string {
	v, ok := q.one(name, maxTextBytes)
	if !ok {
		return values[0]
	}
	if !slices.Contains(values, v) {
		q.fail(name, "must be one of %s, is %q", strings.Join(values, ", "), shortened(v))
		return values[0]
	}
	return v
}

var taskStates = []taskspan.State{
	taskspan.Running, taskspan.Blocked, taskspan.Deadlocked, taskspan.Completed, taskspan.Failed, taskspan.Cancelled, taskspan.Lost,
}

func (q *query) states(name string) []taskspan.State {
	q.read[name] = true
	var states []taskspan.State
	for _, list := range q.values[name] {
		for v := range strings.SplitSeq(list, ",") {
			state := taskspan.State(v)
			if !slices.Contains(taskStates, state) {
				q.fail(name, "must be of running, blocked, deadlocked, completed, failed, cancelled and lost, is %q", shortened(v))
				return nil
			}
			if !slices.Contains(states, state) {
				states = append(states, state)
			}
		}
	}
	return states
}

func (q *query) age(name string) time.Duration {
	v, ok := q.one(name, 32)
	if !ok {
		return 0
	}
	d, err := readAge(v)
	if err != nil {
		q.fail(name, "must be a number of seconds, or a duration such as 500ms, 30s or 2m, and not negative, is %q", shortened(v))
	}
	return d
}

func readAge(v string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(v, 64); err == nil {
		if !(seconds >= 0 && seconds <= math.MaxInt64/1e9) {
			return 0, errors.New("out of range")
		}
		return time.Duration(seconds * 1e9), nil
	}
	d, err := time.ParseDuration(v)
	if err == nil && d < 0 {
		err = errors.New("negative")
	}
	if err != nil {
		return 0, err
	}
	return d, nil
}

// traceID is zero if the parameter is absent.
func (q *query) traceID(name string) (id [16]byte) {
	if v, ok := q.one(name, maxTextBytes); ok && !readHex(id[:], v) {
		q.fail(name, "must be 32 lower-case hexadecimal digits and not all 0, is %q", shortened(v))
	}
	return id
}

// readHex fills id with the bytes of a text that is as long and not all zeros.
func readHex(id []byte, text string) bool {
	if len(text) != 2*len(id) || strings.ToLower(text) != text {
		return false
	}
	_, err := hex.Decode(id, []byte(text))
	return err == nil && slices.ContainsFunc(id, func(b byte) bool { return b != 0 })
}
