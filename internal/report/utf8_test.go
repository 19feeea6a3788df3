package report

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func TestTextIsValidAndShort(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 3, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "abc"},
		{"aé", 3, "aé"},
		{"aéb", 3, "aé"},
		{"aaé", 3, "aa"},
		{"a\xffb", 9, "a\uFFFDb"},
		{"a\xff\xfe\xfdb", 9, "a\uFFFDb"},
		{"caf\xe9", 6, "caf\uFFFD"},
		{"caf\xe9", 5, "caf"},
		{"ab\xffcdef", 5, "ab\uFFFD"},
		{"\x80\x80\x80\x80", 3, ""},
	} {
		got := Text(c.in, c.limit)
		require.Equal(t, c.want, got, "%q", c.in)
		require.Equal(t, got, Text(got, c.limit), "%q is a text already", c.in)
	}
}

// Whatever a report says in bytes that are no UTF-8, nothing of it gets any further:
// Prometheus refuses a scrape, and a backend a batch, because of one of them.
func TestOnlyUTF8ComesOutOfAReport(t *testing.T) {
	for name, make := range map[string]func() ptrace.Span{
		"wait": waitSpan, "heartbeat": heartbeatSpan, "lock order": lockOrderSpan,
	} {
		var keys []string
		for key := range make().Attributes().All() {
			keys = append(keys, key)
		}
		for _, key := range keys {
			s := make()
			v, _ := s.Attributes().Get(key)
			spoil(v)
			got, drop := Decode(process, s, now)
			if drop == Used {
				requireUTF8(t, reflect.ValueOf(got), name+" "+key)
			}
		}
		s := make()
		for i := range s.Links().Len() {
			for _, v := range s.Links().At(i).Attributes().All() {
				spoil(v)
			}
		}
		got, drop := Decode(process, s, now)
		require.Equal(t, Used, drop, name)
		requireUTF8(t, reflect.ValueOf(got), name+" links")
	}
}

// spoil puts a byte that is no UTF-8 into every text, also below a list. What reads
// "reason=count" stays that.
func spoil(v pcommon.Value) {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		if reason, count, is := strings.Cut(v.Str(), "="); is {
			v.SetStr(reason + "\xff=" + count)
			return
		}
		v.SetStr(strings.Replace(v.Str(), `":`, "\xff\":", 1) + "\xff")
	case pcommon.ValueTypeSlice:
		for i := range v.Slice().Len() {
			spoil(v.Slice().At(i))
		}
	}
}

func requireUTF8(t *testing.T, v reflect.Value, at string) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		require.True(t, utf8.ValidString(v.String()), "%s: %q", at, v)
	case reflect.Pointer:
		if !v.IsNil() {
			requireUTF8(t, v.Elem(), at)
		}
	case reflect.Struct:
		if v.Type().PkgPath() == "time" {
			return
		}
		for i := range v.NumField() {
			requireUTF8(t, v.Field(i), at+"."+v.Type().Field(i).Name)
		}
	case reflect.Slice:
		for i := range v.Len() {
			requireUTF8(t, v.Index(i), at)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			requireUTF8(t, key, at)
			requireUTF8(t, v.MapIndex(key), at)
		}
	}
}

// Names that are compared are whole or absent: half of a name, or one in which bytes
// were replaced, could be that of something else.
func TestANameThatIsNoUTF8IsNoIdentity(t *testing.T) {
	const bad = "lock\xff"
	s := waitSpan()
	s.Attributes().PutStr(taskspan.WaitResourceID, bad)
	holds := s.Attributes().PutEmptySlice(taskspan.Holds)
	holds.AppendEmpty().SetStr(bad)
	holds.AppendEmpty().SetStr("whole")
	got, drop := Decode(process, s, now)
	require.Equal(t, Used, drop)
	require.False(t, got.Wait.Complete, "two ids may have become one")
	require.Equal(t, []Hold{{Resource: "whole"}}, got.Task.Holds)
	require.True(t, got.Shortened)

	for _, key := range []string{taskspan.LockOrderHeld, taskspan.LockOrderTaken} {
		for _, name := range []string{bad, strings.Repeat("x", taskspan.MaxStringBytes+1)} {
			s = lockOrderSpan()
			s.Attributes().PutStr(key, name)
			_, drop = Decode(process, s, now)
			require.Equal(t, DropMissing, drop, key)
		}
	}

	for _, key := range []string{taskspan.ServiceName, taskspan.ServiceInstanceID} {
		m := pcommon.NewMap()
		m.PutStr(taskspan.ServiceName, process.Service)
		m.PutStr(taskspan.ServiceInstanceID, process.Instance)
		m.PutInt(taskspan.ProcessEpoch, process.Epoch)
		m.PutStr(key, bad)
		_, drop = DecodeProcess(m)
		require.Equal(t, DropIdentity, drop, key)
	}
}
