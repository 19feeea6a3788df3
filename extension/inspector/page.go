package inspector

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"io"
	"slices"
	"strings"
	"time"
)

// rowKey is the place of a row in an order. Rows are ordered by Rank, then by Number
// and Text, which a descending order turns round, then by ID, which no two share.
type rowKey struct {
	Rank   int     `json:"r,omitempty"`
	Number int64   `json:"n,omitempty"`
	Text   rawText `json:"t,omitempty"`
	ID     rawText `json:"i,omitempty"`
}

// rawText is a text that may be no UTF-8, which JSON would change: a page would then
// begin with the row that the last one has ended with, for ever.
type rawText string

func (b rawText) MarshalText() ([]byte, error) {
	return base64.RawStdEncoding.AppendEncode(nil, []byte(b)), nil
}

func (b *rawText) UnmarshalText(text []byte) error {
	raw, err := base64.RawStdEncoding.AppendDecode(nil, text)
	*b = rawText(raw)
	return err
}

func (k rowKey) compare(o rowKey, descending bool) int {
	byValue := cmp.Or(cmp.Compare(k.Number, o.Number), cmp.Compare(k.Text, o.Text))
	if descending {
		byValue = -byValue
	}
	return cmp.Or(cmp.Compare(k.Rank, o.Rank), byValue, cmp.Compare(k.ID, o.ID))
}

// cursor is a place in the order of a query. It is the key of the last row of a
// page and no number of rows, so that rows that come and go do not shift the pages.
type cursor struct {
	Query uint64    `json:"q"`
	At    time.Time `json:"a"` // of the first page: ages are of that moment on all pages
	After rowKey    `json:"k"`
}

func (c cursor) String() string {
	text, _ := json.Marshal(c) // of these types always possible
	return base64.RawURLEncoding.EncodeToString(text)
}

// cursor returns nil on the first page.
func (q *query) cursor() *cursor {
	v, ok := q.one("cursor", maxCursorBytes)
	if !ok {
		return nil
	}
	c := new(cursor)
	text, err := base64.RawURLEncoding.DecodeString(v)
	if err != nil || json.Unmarshal(text, c) != nil || c.At.IsZero() {
		q.fail("cursor", "is not one that this API has given")
		return nil
	}
	if c.Query != q.identity() {
		q.fail("cursor", "belongs to a query with other parameters")
		return nil
	}
	return c
}

// identity is the same for all pages of a query.
func (q *query) identity() uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, q.path)
	var names []string
	for name := range q.values {
		if name != "cursor" && name != "limit" && name != "format" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		_, _ = io.WriteString(h, "\x00"+name+"\x01"+strings.Join(q.values[name], "\x02"))
	}
	return h.Sum64()
}

// paging says which rows are wanted, and in what order.
type paging struct {
	query      *query
	now        time.Time // of the first page
	after      *cursor
	limit      int
	descending bool
}

func (q *query) paging(now time.Time) *paging {
	// Without the monotonic clock, which a cursor cannot carry: ages would differ.
	p := &paging{query: q, now: now.Round(0), limit: q.limit(), after: q.cursor()}
	if p.after != nil {
		p.now = p.after.At
	}
	return p
}

// paged sorts rows and returns those of the page and the cursor of the next one.
func paged[T any](p *paging, rows []T, keyOf func(row *T, now time.Time) rowKey) (page []T, next *string) {
	type keyed struct {
		key rowKey
		row int
	}
	order := make([]keyed, 0, len(rows))
	for i := range rows {
		key := keyOf(&rows[i], p.now)
		if p.after == nil || key.compare(p.after.After, p.descending) > 0 {
			order = append(order, keyed{key, i})
		}
	}
	slices.SortFunc(order, func(a, b keyed) int { return a.key.compare(b.key, p.descending) })
	n := min(p.limit, len(order))
	page = make([]T, 0, n)
	for _, k := range order[:n] {
		page = append(page, rows[k.row])
	}
	if n < len(order) {
		c := cursor{Query: p.query.identity(), At: p.now, After: order[n-1].key}.String()
		next = &c
	}
	return page, next
}
