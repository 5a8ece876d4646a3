package annotate

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// The pieces that the merge tests abbreviate.
const (
	entryText = `{"indicator":{"type":"ipv6-addr","name":"2001:db8::7","ip":"2001:db8::7","provider":"feodo",` +
		`"confidence":"Medium","description":"listed as malicious by feodo"},"matched":{"atomic":"2001:db8::7",` +
		`"field":"ip","id":"local:ip:2001:db8::7","index":"iocpipe","occurred":"2026-03-04T09:15:25.310Z",` +
		`"type":"indicator_match_rule"},"feed":{"name":"feodo"},"iocpipe":{"verdict":"malicious","response_code":"1"}}`
	sumText = `"verdict":"malicious","matches":1,"fields":["ip"],"enriched_at":"2026-03-04T09:15:25.310Z","schema":1`
	dotText = `"iocpipe.verdict":"malicious","iocpipe.matches":1,"iocpipe.fields":["ip"],` +
		`"iocpipe.enriched_at":"2026-03-04T09:15:25.310Z","iocpipe.schema":1`
)

// spell writes an event out whose abbreviations are ENTRY, OLDER and OTHER (own entries), SUM, DOTTED and IP.
func spell(s string) string {
	older := strings.ReplaceAll(entryText, "2026-03-04T09:15:25.310Z", "2026-01-01T00:00:00.000Z")
	return strings.NewReplacer(
		"ENTRY", entryText,
		"OLDER", older,
		"STALE", strings.Replace(older, `"response_code"`, `"stale":true,"response_code"`, 1),
		"OTHER", strings.NewReplacer("2001:db8::7", "192.0.2.1", `"verdict"`, `"votes":0,"verdict"`).Replace(older),
		"SUM", sumText, "DOTTED", dotText, "IP", `"ip":"2001:db8::7"`, "ALL",
		`"related":{"ip":["2001:db8::7"]},"threat":{"enrichments":[`+entryText+`]},"iocpipe":{`+sumText+`}`,
		"ADDR", `"2001:db8::7"`,
	).Replace(s)
}

func TestMerge(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"nothing there", `{IP}`, `{IP,ALL}`},
		{"blanks", ` { "n" : 1.50 , IP } `, ` { "n" : 1.50 , IP,ALL } `},
		{"escapes and digits", `{"n":12345678901234567890,"s":"\u00e4\/",IP}`,
			`{"n":12345678901234567890,"s":"\u00e4\/",IP,ALL}`},
		{"around the object", "\ufeff @cee: {IP} \t\r", "\ufeff @cee: {IP,ALL} \t\r"},
		{"duplicates", `{IP,"a":1,"a":2}`, `{IP,"a":1,"a":2,ALL}`},

		{"threat object", `{IP,"threat":{"x":1}}`,
			`{IP,"threat":{"x":1,"enrichments":[ENTRY]},"related":{"ip":[ADDR]},"iocpipe":{SUM}}`},
		{"threat object first", `{"threat": { } ,IP}`,
			`{"threat": {"enrichments":[ENTRY] } ,IP,"related":{"ip":[ADDR]},"iocpipe":{SUM}}`},
		{"threat null", `{IP,"threat":null}`,
			`{IP,"threat":null,"related":{"ip":[ADDR]},"threat.enrichments":[ENTRY],"iocpipe":{SUM}}`},
		{"threat array", `{IP,"threat":[{"enrichments":[1]}]}`,
			`{IP,"threat":[{"enrichments":[1]}],"related":{"ip":[ADDR]},"threat.enrichments":[ENTRY],"iocpipe":{SUM}}`},
		{"threat dotted", `{"threat.framework":"x",IP}`,
			`{"threat.framework":"x",IP,"related":{"ip":[ADDR]},"threat.enrichments":[ENTRY],"iocpipe":{SUM}}`},
		{"threat escaped", `{"thre\u0061t":{"enrichment\u0073":[7]},IP}`,
			`{"thre\u0061t":{"enrichment\u0073":[7,ENTRY]},IP,"related":{"ip":[ADDR]},"iocpipe":{SUM}}`},
		{"threat twice", `{"threat":{"a":1},IP,"threat":{"b":1}}`,
			`{"threat":{"a":1},IP,"threat":{"b":1,"enrichments":[ENTRY]},"related":{"ip":[ADDR]},"iocpipe":{SUM}}`},

		{"enrichments array", `{"threat":{"enrichments":[ {"a":1} , 2 ]},IP}`,
			`{"threat":{"enrichments":[ {"a":1} , 2,ENTRY ]},IP,"related":{"ip":[ADDR]},"iocpipe":{SUM}}`},
		{"enrichments empty", `{"threat":{"enrichments":[ ]},IP}`,
			`{"threat":{"enrichments":[ENTRY ]},IP,"related":{"ip":[ADDR]},"iocpipe":{SUM}}`},
		{"enrichments object", `{"threat":{"enrichments":{"a":1}},IP}`,
			`{"threat":{"enrichments":[{"a":1},ENTRY]},IP,"related":{"ip":[ADDR]},"iocpipe":{SUM}}`},
		{"enrichments dotted, last", `{IP,"threat.enrichments":{"a":1}}`,
			`{IP,"threat.enrichments":[{"a":1},ENTRY],"related":{"ip":[ADDR]},"iocpipe":{SUM}}`},
		{"enrichments null", `{IP,"threat.enrichments":null}`,
			`{IP,"threat.enrichments":[null,ENTRY],"related":{"ip":[ADDR]},"iocpipe":{SUM}}`},
		{"enrichments foreign",
			`{IP,"threat":{"enrichments":[{"iocpipe":{}},{"iocpipe":1,"matched":{"id":"a:ip:b","field":"ip"}}]}}`,
			`{IP,"threat":{"enrichments":[{"iocpipe":{}},{"iocpipe":1,"matched":{"id":"a:ip:b","field":"ip"}},ENTRY]},` +
				`"related":{"ip":[ADDR]},"iocpipe":{SUM}}`},

		{"own entry stands",
			`{IP,"related":{"ip":["x",ADDR]},"threat":{"enrichments":[{"a":1}, OLDER]},"iocpipe":{"c":1,SUM}}`,
			`{IP,"related":{"ip":["x",ADDR]},"threat":{"enrichments":[{"a":1}, OLDER]},"iocpipe":{"c":1,SUM}}`},
		{"own entry changed", `{IP,"threat":{"enrichments":[STALE,{"a":1}]}}`,
			`{IP,"threat":{"enrichments":[OLDER,{"a":1}]},"related":{"ip":[ADDR]},"iocpipe":{SUM}}`},
		{"own entry alone", `{IP,"threat":{"enrichments":STALE}}`,
			`{IP,"threat":{"enrichments":[OLDER]},"related":{"ip":[ADDR]},"iocpipe":{SUM}}`},
		{"own entry alone, stands", `{IP,"related.ip":ADDR,"threat.enrichments":OLDER,DOTTED}`,
			`{IP,"related.ip":ADDR,"threat.enrichments":OLDER,DOTTED}`},
		{"own entry of another value", `{IP,"threat":{"enrichments":[OTHER]},"related":{"ip":[ADDR]}}`,
			`{IP,"threat":{"enrichments":[OTHER,ENTRY]},"related":{"ip":[ADDR]},"iocpipe":{"verdict":"malicious",` +
				`"votes_min":0,"matches":2,"fields":["ip"],"enriched_at":"2026-03-04T09:15:25.310Z","schema":1}}`},

		{"related scalar", `{IP,"related":{"ip":"10.0.0.1"}}`,
			`{IP,"related":{"ip":["10.0.0.1",ADDR]},"threat":{"enrichments":[ENTRY]},"iocpipe":{SUM}}`},
		{"related scalar, same", `{IP,"related":{"ip":ADDR}}`,
			`{IP,"related":{"ip":ADDR},"threat":{"enrichments":[ENTRY]},"iocpipe":{SUM}}`},
		{"related array", `{IP,"related":{"ip":["2001:db8\u003a:7"],"user":["joe"]}}`,
			`{IP,"related":{"ip":["2001:db8\u003a:7"],"user":["joe"]},"threat":{"enrichments":[ENTRY]},"iocpipe":{SUM}}`},
		{"related without ip", `{IP,"related":{"user":["joe"]}}`,
			`{IP,"related":{"user":["joe"],"ip":[ADDR]},"threat":{"enrichments":[ENTRY]},"iocpipe":{SUM}}`},
		{"related dotted", `{IP,"related.hosts":"h"}`,
			`{IP,"related.hosts":"h","related.ip":[ADDR],"threat":{"enrichments":[ENTRY]},"iocpipe":{SUM}}`},
		{"related scalar and dotted", `{IP,"related":"h","related.ip":[null]}`,
			`{IP,"related":"h","related.ip":[null,ADDR],"threat":{"enrichments":[ENTRY]},"iocpipe":{SUM}}`},

		{"iocpipe object", `{IP,"iocpipe":{"a":1, "verdict":"benign", "votes_min":1 , "late":{} }}`,
			`{IP,"iocpipe":{"a":1 , "late":{},SUM },"related":{"ip":[ADDR]},"threat":{"enrichments":[ENTRY]}}`},
		{"iocpipe all ours", `{IP,"iocpipe":{ "votes_min":1, "verdict":"benign" }}`,
			`{IP,"iocpipe":{ SUM },"related":{"ip":[ADDR]},"threat":{"enrichments":[ENTRY]}}`},
		{"iocpipe dotted", `{ "iocpipe.verdict":"benign",IP,"iocpipe.x":1, "iocpipe.votes_min":-1}`,
			`{ IP,"iocpipe.x":1,"related":{"ip":[ADDR]},"threat":{"enrichments":[ENTRY]},DOTTED}`},
		{"iocpipe scalar", `{"iocpipe":"mine",IP}`,
			`{"iocpipe":"mine",IP,"related":{"ip":[ADDR]},"threat":{"enrichments":[ENTRY]},DOTTED}`},
		{"iocpipe both", `{"iocpipe.matches":9,"iocpipe":{"verdict":"x","verdict":"y"},IP}`,
			`{"iocpipe":{SUM},IP,"related":{"ip":[ADDR]},"threat":{"enrichments":[ENTRY]}}`},
		{"iocpipe escaped", `{"message":"\\\\","iocpipe":{"escaped":true},IP}`,
			`{"message":"\\\\","iocpipe":{"escaped":true,SUM},IP,"related":{"ip":[ADDR]},"threat":{"enrichments":[ENTRY]}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in, want := spell(tc.in), spell(tc.want)
			got := annotated(t, atNoon(), []byte(in))
			if string(got) != want {
				t.Errorf("in   %s\ngot  %s\nwant %s", in, got, want)
			}
			if again := annotated(t, at(noon.Add(time.Hour)), got); string(again) != string(got) {
				t.Errorf("an hour later\ngot  %s\nwant %s", again, got)
			}
		})
	}
}

// TestMergeKeepsForeignMembers annotates an event whose own entry is out of date, and has members that others put in.
func TestMergeKeepsForeignMembers(t *testing.T) {
	in := strings.NewReplacer(`{"indicator":{`, `{"x" : [1],"indicator":{"first_seen":"a","first_seen":"b",`,
		`"feed":{`, `"feed":{"x":{},`).Replace(spell(`{IP,"threat":{"enrichments":[STALE]}}`))
	want := strings.NewReplacer(`by feodo"}`, `by feodo","first_seen":"a","first_seen":"b"}`,
		`"feed":{"name":"feodo"}`, `"feed":{"name":"feodo","x":{}}`, `"response_code":"1"}}`, `"response_code":"1"},"x" : [1]}`).
		Replace(spell(`{IP,"threat":{"enrichments":[OLDER]},"related":{"ip":[ADDR]},"iocpipe":{SUM}}`))
	got := annotated(t, atNoon(), []byte(in))
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if again := annotated(t, at(noon.Add(time.Hour)), got); string(again) != want {
		t.Errorf("an hour later\ngot  %s\nwant %s", again, want)
	}
	for _, lost := range []string{`,"x" : [1]`, `,"first_seen":"a"`, `,"x":{}`} {
		if VerifyLine([]byte(in), []byte(strings.Replace(want, lost, "", 1))) == nil {
			t.Errorf("accepted without %s", lost)
		}
	}
}

func TestMergeKeepsReformattedEntry(t *testing.T) {
	once := annotated(t, atNoon(), []byte(spell(`{IP}`)))
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, once, "", "  "); err != nil {
		t.Fatal(err)
	}
	if got := annotated(t, at(noon.Add(time.Hour)), pretty.Bytes()); string(got) != pretty.String() {
		t.Errorf("got %s", got)
	}
}

// What an index that makes _source up gives back is annotated already: arrays of one are their element.
func TestMergeKeepsMadeUpEntry(t *testing.T) {
	once := string(annotated(t, atNoon(), []byte(spell(`{IP}`))))
	madeUp := regexp.MustCompile(`\[([^\[\]{},]*)\]`).ReplaceAllString(once, "$1")
	madeUp = regexp.MustCompile(`"enrichments":\[(.*?\})\]`).ReplaceAllString(madeUp, `"enrichments":$1`)
	if madeUp == once || strings.Contains(madeUp, "[") {
		t.Fatalf("not as meant: %s", madeUp)
	}
	if got := annotated(t, at(noon.Add(time.Hour)), []byte(madeUp)); string(got) != madeUp {
		t.Errorf("got  %s\nwant %s", got, madeUp)
	}
}

func TestSameArrays(t *testing.T) {
	for _, c := range []struct {
		x, y string
		want bool
	}{
		{`["a","b"]`, `["b","a"]`, true}, {`["a","a","b"]`, `["a","b"]`, true}, {`"a"`, `["a"]`, true}, {`[{"x":[1]}]`, `{"x":1}`, true},
		{`["a"]`, `["a","b"]`, false}, {`["a","b"]`, `"a"`, false}, {`[]`, `["a"]`, false}, {`[]`, `"a"`, false}, {`[1]`, `"1"`, false},
	} {
		if r := new(entryReader); r.same([]byte(c.x), []byte(c.y)) != c.want || r.same([]byte(c.y), []byte(c.x)) != c.want {
			t.Errorf("%s and %s: want %t", c.x, c.y, c.want)
		}
	}
}

func TestEntryPerFieldAndValue(t *testing.T) {
	f := func(event string, want ...string) {
		t.Helper()
		out := annotated(t, atNoon(), []byte(event))
		var got struct {
			Threat struct {
				Enrichments []struct {
					Matched struct{ Field, Atomic string }
				}
			}
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		var fields []string
		for _, e := range got.Threat.Enrichments {
			fields = append(fields, e.Matched.Field+" "+e.Matched.Atomic)
		}
		if strings.Join(fields, ",") != strings.Join(want, ",") {
			t.Errorf("%s: got %q, want %q", event, fields, want)
		}
	}
	f(`{"a":"203.0.113.7 203.0.113.7"}`, "a 203.0.113.7")
	f(`{"a":["203.0.113.7","203.0.113.7"],"b":{"c":"203.0.113.7"}}`, "a 203.0.113.7", "b.c 203.0.113.7")
	f(`{"message":"to 203.0.113.7","event":{"original":"203.0.113.7"},"d":"203.0.113.7"}`, "d 203.0.113.7")
	f(`{"message":"2001:db8::7 to 203.0.113.7","d":"203.0.113.7"}`, "message 2001:db8::7", "d 203.0.113.7")
	f(`{"message":"203.0.113.7"}`, "message 203.0.113.7")
	f(`{"a":"evil[.]example"}`, "a evil[.]example")
}

func TestAtomicIsDecoded(t *testing.T) {
	event := []byte(`{"a":"203\u002e0.113.7"}`)
	hit := known["203.0.113.7"]
	hit.Start, hit.End, hit.Field = 6, len(event)-2, "a"
	out, ok := atNoon().AppendJSON(nil, event, []Hit{hit})
	if !ok || !bytes.Contains(out, []byte(`"atomic":"203.0.113.7"`)) {
		t.Errorf("got %s", out)
	}
}

func TestSeenValuesJoinRelated(t *testing.T) {
	event := []byte(`{"a":"192.0.2.9"}`)
	hit := Hit{Match: extract.Match{Key: key(extract.IP, "192.0.2.9"), Start: 6, End: 15, Field: "a"}}
	out, _ := atNoon().AppendJSON(nil, event, []Hit{hit, hit})
	if want := `{"a":"192.0.2.9","related":{"ip":["192.0.2.9"]}}`; string(out) != want {
		t.Errorf("got %s, want %s", out, want)
	}
	if err := VerifyLine(event, out); err != nil {
		t.Error(err)
	}
}

func TestSettings(t *testing.T) {
	a := atNoon()
	a.MaxRelated, a.MatchedType, a.Confidence = 1, "", map[intel.Verdict]string{intel.Malicious: "High"}
	golden(t, "settings.golden", append(annotated(t, a, []byte(`{"ip":"203.0.113.7"}`)), '\n'))
	a.MaxRelated = 0
	out := annotated(t, a, []byte(`{"ip":"203.0.113.7"}`))
	if !bytes.Contains(out, []byte(`"related":{"hosts_total":3,"hash_total":2}`)) {
		t.Errorf("got %s", out)
	}
}

func TestNoEventStaysAsItIs(t *testing.T) {
	for _, line := range []string{
		``, `x`, `[]`, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1}x`, `{"a":"\"}`, `{"a":[1}`, `{"threat":{"a"}}`,
	} {
		if out, ok := atNoon().AppendJSON([]byte("-"), []byte(line), nil); ok || string(out) != "-"+line {
			t.Errorf("%s: got %s, %v", line, out, ok)
		}
	}
}

func TestTooLongForKeyword(t *testing.T) {
	long := strings.Repeat("ä", maxKeyword)
	hit := known["2001:db8::7"]
	hit.Start, hit.End, hit.Field = 6, 6+len(long), long
	hit.Finding.Source = long
	hit.Finding.Report = &intel.Report{Known: true, Permalink: long, Hashes: []string{long}}
	tooLong := hit
	tooLong.Key = key(extract.Antivirus, long)
	event := []byte(`{"a":"` + long + `"}`)
	out, _ := atNoon().AppendJSON(nil, event, []Hit{hit, tooLong})
	var checkLengths func(v any)
	checkLengths = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, member := range v {
				checkLengths(member)
			}
		case []any:
			for _, element := range v {
				checkLengths(element)
			}
		case string:
			if len(v) > maxKeyword || strings.Contains(v, "\ufffd") {
				t.Errorf("%d bytes: %s", len(v), v)
			}
		}
	}
	var got map[string]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "a")
	checkLengths(got)
	if n := len(got["threat"].(map[string]any)["enrichments"].([]any)); n != 1 {
		t.Errorf("%d entries", n)
	}
	if again, _ := atNoon().AppendJSON(nil, out, []Hit{hit}); !bytes.Equal(again, out) {
		t.Errorf("again: %s", again)
	}
}

func TestGoldenEvents(t *testing.T) {
	var got []byte
	for _, line := range linesOf(t, "events.ndjson") {
		got = append(append(got, annotated(t, atNoon(), line)...), '\n')
	}
	golden(t, "events.golden", got)
}

func TestAppendJSONDoesNotAllocate(t *testing.T) {
	a, event := atNoon(), linesOf(t, "events.ndjson")[0]
	hits := find(event)
	dst, _ := a.AppendJSON(nil, event, hits)
	if n := testing.AllocsPerRun(100, func() { dst, _ = a.AppendJSON(dst[:0], event, hits) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	for _, n := range []int{0, 1} {
		event := linesOf(b, "events.ndjson")[n]
		b.Run([]string{"two hits", "one hit"}[n], func(b *testing.B) {
			a, hits := New(), find(event)
			var dst []byte
			b.SetBytes(int64(len(event)))
			b.ReportAllocs()
			for b.Loop() {
				dst, _ = a.AppendJSON(dst[:0], event, hits)
			}
		})
	}
}

func TestManyHits(t *testing.T) {
	const n = 20_000
	var event []byte
	var hits []Hit
	event = append(event, `{"a":[`...)
	for i := range n {
		value := "h" + strings.Repeat("x", i%5) + time.Duration(i).String() + ".example"
		if i > 0 {
			event = append(event, ',')
		}
		hit := known["2001:db8::7"]
		hit.Key, hit.Field, hit.Start = key(extract.Domain, value), "a", len(event)+1
		event = AppendString(event, value)
		hit.End = len(event) - 1
		hits = append(hits, hit)
	}
	event = append(event, `]}`...)
	once, _ := atNoon().AppendJSON(nil, event, hits)
	twice, _ := at(noon.Add(time.Hour)).AppendJSON(nil, once, hits)
	if !bytes.Equal(once, twice) {
		t.Error("annotating twice changed the event")
	}
	if err := VerifyLine(event, once); err != nil {
		t.Error(err)
	}
}

func TestAppendTime(t *testing.T) {
	for _, when := range []time.Time{
		{}, time.Unix(1e9, 999_999_999), time.Unix(1e9, 7_000_000).In(time.FixedZone("", 5400)), time.Date(12345, 1, 2, 3, 4, 5, 60e6, time.UTC),
	} {
		if got, want := string(AppendTime(nil, when)), when.UTC().Format("2006-01-02T15:04:05.000Z"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
