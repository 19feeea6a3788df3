package wire

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func TestTextsAreCutBetweenCharacters(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{
		{"", 0, ""},
		{"", 5, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "abc"},
		{"äöü", 6, "äöü"},
		{"äöü", 5, "äö"},
		{"äöü", 4, "äö"},
		{"äöü", 1, ""},
		{"a\U0001F512b", 6, "a\U0001F512b"},
		{"a\U0001F512b", 5, "a\U0001F512"},
		{"a\U0001F512b", 4, "a"},
		{"caf\xe9", 4, "caf"}, // the replacement takes three bytes
		{"caf\xe9", 6, "caf\uFFFD"},
		{"\xff\xfeb", 7, "\uFFFD\uFFFDb"},
		{"\xff\xfeb", 6, "\uFFFD\uFFFD"},
		{"a\xe2\x82", 9, "a\uFFFD\uFFFD"}, // a character that somebody has cut
		{"caf\xe9", math.MaxInt, "caf\uFFFD"},
	} {
		if got := Cut(c.text, c.limit); got != c.want {
			t.Errorf("Cut(%q, %d) is %q, want %q", c.text, c.limit, got, c.want)
		}
	}
}

func TestIdentitiesStayDifferent(t *testing.T) {
	long := strings.Repeat("x", taskspan.MaxStringBytes)
	if ID(long) != long || ID("ext:a") != "ext:a" {
		t.Error("an identity within the limit changes")
	}
	texts := []string{long, long + "a", long + "b", long + "\xff", "a\xe9", "a\xe8", "a\uFFFD", strings.Repeat("ä", 300), strings.Repeat("ä", 301)}
	seen := make(map[string]string)
	for _, text := range texts {
		id := ID(text)
		if len(id) > taskspan.MaxStringBytes || !utf8.ValidString(id) {
			t.Errorf("%q has the identity %q of %d bytes", text, id, len(id))
		}
		if other, taken := seen[id]; taken {
			t.Errorf("%q and %q have one identity", text, other)
		}
		seen[id] = text
		if ID(text) != id {
			t.Errorf("%q has two identities", text)
		}
	}
}

// A long identity is the same in every process and version: its beginning, and 64 bits of
// the SHA-256 of all of it.
func TestALongIdentity(t *testing.T) {
	long := strings.Repeat("x", taskspan.MaxStringBytes+1)
	sum := sha256.Sum256([]byte(long))
	want := long[:taskspan.MaxStringBytes-17] + fmt.Sprintf("~%x", sum[:8])
	if got := ID(long); got != want || len(got) != taskspan.MaxStringBytes {
		t.Errorf("it is %q, want %q", got, want)
	}
}

// Every text of every report keeps to its limit and is UTF-8, whatever it is made of.
func TestNoReportCanBeRefusedForItsTexts(t *testing.T) {
	for name, bad := range map[string]string{
		"long":      strings.Repeat("SELECT ", 600),
		"to escape": strings.Repeat("<", 700),
		"control":   strings.Repeat("\x01", 700),
		"quotes":    strings.Repeat(`"\`, 700),
		"not UTF-8": strings.Repeat("caf\xe9 ", 300),
		"wide":      strings.Repeat("\U0001F512", 300),
	} {
		t.Run(name, func(t *testing.T) {
			place := Place{bad, bad, 3}
			task := Task{Name: bad, State: taskspan.Blocked, Holds: []Hold{{Resource: "ext:" + bad}, {Resource: "ext:b"}}, Place: place, Stack: bad + bad + bad}
			counts := taskspan.NameCounts{
				Name: bad, Started: math.MaxInt64, Completed: math.MaxInt64, Failed: math.MaxInt64, Cancelled: math.MaxInt64,
				Running: math.MaxInt64, Blocked: math.MaxInt64,
				Durations: &taskspan.Durations{Seconds: math.MaxFloat64, Buckets: make([]int64, taskspan.DurationBuckets)},
			}
			for i := range counts.Durations.Buckets {
				counts.Durations.Buckets[i] = math.MaxInt64
			}
			heartbeat := &Heartbeat{
				NewSpanID: func() [8]byte { return [8]byte{1} }, ByName: []taskspan.NameCounts{counts}, Dropped: []string{"max_tasks=1"},
				Memory: map[string]string{"text": "a<b"},
			}
			spans := append(heartbeat.Encode(),
				(&Wait{Task: task, Kind: taskspan.WaitMutex, ResourceID: "r" + bad, ResourceName: bad, Holders: []Holder{{Place: place}}}).Encode(),
				task.Encode(),
				(&LockOrder{Held: bad, Taken: "b" + bad, Guards: []string{"c" + bad}, HeldPlace: place, Place: place}).Encode())
			for _, s := range spans {
				if _, err := proto.Marshal(s); err != nil {
					t.Errorf("%s: %v", s.Name, err)
				}
				withinLimits(t, s)
			}
		})
	}
}

func withinLimits(t *testing.T, s *tracepb.Span) {
	t.Helper()
	if len(s.Name) > taskspan.MaxStringBytes {
		t.Errorf("the name has %d bytes", len(s.Name))
	}
	lists := s.Attributes
	for _, l := range s.Links {
		lists = append(lists, l.Attributes...)
	}
	for _, kv := range lists {
		limit := taskspan.MaxStringBytes
		switch kv.Key {
		case taskspan.CodeStacktrace:
			limit = taskspan.MaxStackBytes
		case taskspan.TasksByName, taskspan.Memory:
			limit = taskspan.MaxJSONBytes
		}
		texts := []string{kv.Value.GetStringValue()}
		for _, v := range kv.Value.GetArrayValue().GetValues() {
			texts = append(texts, v.GetStringValue())
		}
		for _, text := range texts {
			if len(text) > limit || !utf8.ValidString(text) {
				t.Errorf("%s has %d bytes, at most %d are allowed: %.60q", kv.Key, len(text), limit, text)
			}
			if limit == taskspan.MaxJSONBytes && strings.Contains(text, `\u003c`) {
				t.Errorf("%s has HTML escapes: %.60q", kv.Key, text)
			}
		}
	}
}

func TestCountsByNameTravelWhole(t *testing.T) {
	counts := taskspan.NameCounts{
		Name: "a<b>&c", Started: 101, Completed: 42, Failed: 23, Cancelled: 14, Running: 15, Blocked: 7,
		Durations: &taskspan.Durations{Seconds: 360.25, Buckets: []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}},
	}
	h := &Heartbeat{NewSpanID: func() [8]byte { return [8]byte{1} }, ByName: []taskspan.NameCounts{counts}}
	for _, kv := range h.Encode()[0].Attributes {
		if kv.Key != taskspan.TasksByName {
			continue
		}
		const want = `{"name":"a<b>&c","started":101,"completed":42,"failed":23,"cancelled":14,"running":15,"blocked":7,` +
			`"durations":{"seconds":360.25,"buckets":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}}`
		got := kv.Value.GetArrayValue().Values[0].GetStringValue()
		if got != want || !json.Valid([]byte(got)) {
			t.Errorf("got %s, want %s", got, want)
		}
		return
	}
	t.Error("no counts by name")
}
