package extract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// eventLines are events, and lines that are nearly the same and none: what is remembered of one must not be believed of
// the next.
var eventLines = []string{
	`{}`, `{`, `{}}`, `{ }`, `{,}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1}{}`, `{"a":1}}`, `{"a":1}]`, `{"a":1]`, `{"a":1`,
	`{"a":1}`, `{"a":12}`, `{"a":1x}`, `{"a":"1"}`, `{"a":"evil.com"}`, `{"a":"evil.com}`, `{"a":"quiet"}`, `{"a":"quiet`,
	`{"a":"quiet"x}`, `{"a":{}}`, `{"a":{ }}`, `{"a":{"b":1}}`, `{"a":{"b":1}`, `{"a":{"b":[]}}`, `{"a":{"b":"quiet"}}`,
	`{"a":[]}`, `{"a":[ ]}`, `{"a":[}`, `{"a":[1]}`, `{"a":[1,2]}`, `{"a":[1,]}`, `{"a":[1,"evil.com"]}`, `{"a":[1,{"b":2}]}`,
	`{"a":[1,[2]]}`, `{"a":[1}`, `{"a":[{"b":1},{"b":2}]}`, `{"a":[{"b":1},{}]}`, `{"a":[{"b":1},2]}`, `{"a":[[],[]]}`,
	`{"a":["evil.com"]}`, `{"a":"quiet","b":"evil.com"}`, `{"a":"quiet","c":"evil.com"}`, `{"a":"quiet" , "b" : "evil.com" }`,
	`{"a":"quiet","b":{"c":"evil.com"}}`, `{"a":"quiet","b":["evil.com"]}`, `{"a":"quiet","b":[]}`, `{"a":"quiet","b":1}`,
	`{"a":"quiet","b":}`, `{"a":"quiet","b":"evil.com"`, `{"a":"quiet","b":"evil.com"}x`, `{"a":"\u0071uiet"}`,
	"{\"a\":\"qui\x01et\"}", "{\"a\":\"qui\xffet\"}", `{"a":"quiét"}`, `{"a":"qui\et"}`, `{"":"evil.com"}`, `{"a.b":"evil.com"}`,
	`{"a":{"a":{"a":"evil.com"}}}`, `{"a":{"a":"evil.com"},"a":"evil.com"}`, `{"a":"{\"b\":\"evil.com\"}"}`,
	`{"a":"{\"b\":\"quiet\"}"}`, `{"message":"evil.com","event":{"original":"evil.com"}}`, `{"event":{"original":"evil.com"}}`,
	`{"message":{},"event":{"original":"evil.com"}}`, `{"event":{"original":"evil.com"},"message":[]}`,
	`{"a":{"` + strings.Repeat("n", maxFieldName+1) + `":1},"b":1}`, `{"b":1},"b":1}`, `{"b":1,"b":2}`,
	`{"threat":{"name":"Emotet"}}`, `{"threat":{"names":"Emotet"}}`, `{"a":"a quiet value","b":2,"c":"and some more text"}`,
}

// TestRememberedFields scans each two of the lines one after the other: the second must be found as by a scanner that
// knows no other.
func TestRememberedFields(t *testing.T) {
	for _, fields := range []Fields{{}, NewFields(nil, DefaultIgnored, true)} {
		for _, first := range eventLines {
			for _, line := range eventLines {
				s, fresh := Scanner{Fields: fields}, Scanner{Fields: fields}
				s.Append(nil, []byte(first))
				s.Append(nil, []byte(line))
				got, event := s.AppendEvent(nil, []byte(line))
				want, wantEvent := fresh.AppendEvent(nil, []byte(line))
				if event != wantEvent || !slices.Equal(got, want) {
					t.Fatalf("%s behind %s: %v (event: %v), a new scanner finds %v (event: %v)", line, first, got, event, want, wantEvent)
				}
				if object := json.Valid([]byte(line)) && line != "" && !strings.Contains(line, "\xff"); event != object {
					t.Fatalf("%q: event is %v, want %v", line, event, object)
				}
			}
		}
	}
}

// TestManyFields holds a scanner to its bounds where no two events have the same members.
func TestManyFields(t *testing.T) {
	var s Scanner
	long := strings.Repeat("n", maxFieldName+1)
	for i := range 3 * maxFields {
		line := fmt.Appendf(nil, `{"a%d":"evil.com","b":{"c%d":["evil.com"]},"%s":"evil.com"}`, i, i, long)
		matches := s.Append(nil, line)
		fields := []string{fmt.Sprintf("a%d", i), fmt.Sprintf("b.c%d", i), long}
		for j, m := range matches {
			if m.Field != fields[j] || m.Value != "evil.com" {
				t.Fatalf("line %d: %q in %q, want it in %q", i, m.Value, m.Field, fields[j])
			}
		}
		if n := len(s.outer.fields.known); len(matches) != len(fields) || n > maxFields {
			t.Fatalf("line %d: %d matches, %d fields kept", i, len(matches), n)
		}
	}
}

// TestWideEvent reads one event with more members than are kept, one of them deep.
func TestWideEvent(t *testing.T) {
	var line bytes.Buffer
	line.WriteString(`{"first":"evil.com"`)
	for i := range 2 * maxFields {
		fmt.Fprintf(&line, `,"m%d":{"n":[%d,"evil.com"]}`, i, i)
	}
	deep := strings.Repeat(`{"d":`, maxNames+10) + `"evil.com"` + strings.Repeat("}", maxNames+10)
	line.WriteString(`,"deep":` + deep + `}`)
	var s Scanner
	for range 2 {
		matches, event := s.AppendEvent(nil, line.Bytes())
		if !event || len(matches) != 2*maxFields+2 {
			t.Fatalf("event: %v, %d matches", event, len(matches))
		}
		if last := matches[2*maxFields].Field; last != fmt.Sprintf("m%d.n", 2*maxFields-1) {
			t.Errorf("the last member is %q", last)
		}
		if got, want := matches[2*maxFields+1].Field, "deep"+strings.Repeat(".d", maxNames-1); got != want {
			t.Errorf("the deep member is %q, want %q", got, want)
		}
	}
}
