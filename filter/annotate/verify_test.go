package annotate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestVerifyRefuses(t *testing.T) {
	f := func(name, in, out string) {
		t.Helper()
		if VerifyLine([]byte(spell(in)), []byte(spell(out))) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	f("number spelling", `{IP,"n":1.50}`, `{IP,"n":1.5,ALL}`)
	f("escape", `{IP,"s":"\u00e4"}`, `{IP,"s":"ä",ALL}`)
	f("blank gone", `{IP, "n":1}`, `{IP,"n":1,ALL}`)
	f("blank added", `{IP,"n":1}`, `{IP,"n": 1,ALL}`)
	f("blank at the start", `{IP}`, `{ IP,ALL}`)
	f("blank at the end", `{IP}`, `{IP,ALL }`)
	f("blank behind", `{IP}`, `{IP,ALL} `)
	f("byte order mark gone", "\ufeff{IP}", `{IP,ALL}`)
	f("cookie gone", "@cee: {IP}", `{IP,ALL}`)
	f("order", `{IP,"a":1,"b":2}`, `{IP,"b":2,"a":1,ALL}`)
	f("member gone", `{IP,"a":1}`, `{IP,ALL}`)
	f("duplicate gone", `{IP,"a":1,"a":1}`, `{IP,"a":1,ALL}`)
	f("member added", `{IP}`, `{IP,"a":1,ALL}`)
	f("member added last", `{IP}`, `{IP,ALL,"a":1}`)
	f("annotation twice", `{IP}`, `{IP,ALL,ALL}`)
	f("member of a new threat", `{IP}`,
		`{IP,"related":{"ip":[ADDR]},"threat":{"enrichments":[ENTRY],"a":1},"iocpipe":{SUM}}`)
	f("member of a new iocpipe", `{IP}`,
		`{IP,"related":{"ip":[ADDR]},"threat":{"enrichments":[ENTRY]},"iocpipe":{SUM,"a":1}}`)
	f("member of a new entry", `{IP}`, strings.Replace(spell(`{IP,ALL}`), `{"indicator"`, `{"a":1,"indicator"`, 1))
	f("member in a new entry's object", `{IP}`, strings.Replace(spell(`{IP,ALL}`), `"provider"`, `"supplier"`, 1))
	f("foreign entry", `{IP}`, `{IP,"threat":{"enrichments":[ENTRY,{"a":1}]},"iocpipe":{SUM}}`)
	f("foreign entry gone", `{IP,"threat":{"enrichments":[{"a":1}]}}`,
		`{IP,"threat":{"enrichments":[ENTRY]},"iocpipe":{SUM}}`)
	f("foreign entry changed", `{IP,"threat":{"enrichments":[{"a":1}]}}`,
		`{IP,"threat":{"enrichments":[{"a":2},ENTRY]},"iocpipe":{SUM}}`)
	f("own entry gone", `{IP,"threat":{"enrichments":[OTHER]}}`, `{IP,"threat":{"enrichments":[ENTRY]},"iocpipe":{SUM}}`)
	f("threat gone", `{IP,"threat":null}`, `{IP,"threat":{"enrichments":[ENTRY]},"iocpipe":{SUM}}`)
	f("threat twice", `{IP,"threat":{"a":1}}`, `{IP,"threat":{"a":1},"threat":{"enrichments":[ENTRY]},"iocpipe":{SUM}}`)
	f("scalar gone", `{IP,"related":{"ip":"a"}}`,
		`{IP,"related":{"ip":[ADDR]},"threat":{"enrichments":[ENTRY]},"iocpipe":{SUM}}`)
	f("foreign related value", `{IP}`,
		`{IP,"related":{"ip":[ADDR,"192.0.2.66"]},"threat":{"enrichments":[ENTRY]},"iocpipe":{SUM}}`)
	f("related is an object", `{IP,"related":{"ip":{}}}`, `{IP,"related":{"ip":{"a":1}},ALL}`)
	f("iocpipe member gone", `{IP,"iocpipe":{"late":1}}`,
		`{IP,"related":{"ip":[ADDR]},"threat":{"enrichments":[ENTRY]},"iocpipe":{SUM}}`)
	f("summary gone", `{IP,"iocpipe":{"verdict":"x"}}`, `{IP,"iocpipe":{}}`)
	f("summary wrong", `{IP}`, strings.Replace(spell(`{IP,ALL}`), `"matches":1`, `"matches":2`, 1))
	f("summary changed alone", `{IP,"iocpipe":{"verdict":"malicious"}}`, `{IP,"iocpipe":{"verdict":"benign"}}`)
	f("no JSON", `{IP}`, `{IP,ALL`)
	f("not an event", `IP`, `{IP,ALL}`)

	f("text cut", `from a`, `from  iocpipe={"verdict":"benign","matches":[{"value":"a","verdict":"benign"}]}`)
	f("text annotation cut", `a`, `a iocpipe={"verdict":"benign","matches":[{"value":"a","verdict":"benign"}]`)
	f("blank behind the text annotation", `a`, `a iocpipe={"verdict":"benign","matches":[{"value":"a","verdict":"benign"}]} `)
	f("text behind", `a`, `a iocpipe={"verdict":"benign","matches":[{"value":"a","verdict":"benign"}]}x`)
	f("text annotation with more", `a`,
		`a iocpipe={"verdict":"benign","matches":[{"value":"a","verdict":"benign"}],"a":1}`)
	f("text annotation of nothing", `a`, `a iocpipe={"verdict":"benign","matches":[]}`)
	f("text annotation that is none", `a`, `a iocpipe={`)
	f("message changed", `a`, `{"message":"b"}`)
	f("message spelled", `a`, `{"message":"\u0061"}`)
	f("escaped for no reason", `a`, `{"message":"a","iocpipe":{"escaped":true}}`)
	f("escaped missing", `a\`, `{"message":"a\\\\"}`)
	f("wrapped with more", `a`, `{"message":"a","b":1}`)
}

func TestVerifyAccepts(t *testing.T) {
	f := func(in, out string) {
		t.Helper()
		if err := VerifyLine([]byte(spell(in)), []byte(spell(out))); err != nil {
			t.Errorf("%v\n in %s\nout %s", err, in, out)
		}
	}
	f(``, ``)
	f(`a`, `a`)
	f("\xff{", "\xff{")
	f(`a`, `{"message":"a"}`)
	f(`a\`, `{"message":"a\\"}`)
	f(`a\`, `{"message":"a\\\\","iocpipe":{"escaped":true}}`)
	f(`{IP}`, `{IP,ALL}`)
	f(`{"a":1,"a":2`, `{"a":1,"a":2`)
	f(`{IP,ALL}`, `{IP,ALL}`)
}

// TestVerifyRefusesMutations changes, drops and doubles each byte of annotated lines that is not of the annotation.
func TestVerifyRefusesMutations(t *testing.T) {
	lines := slices.Concat(linesOf(t, "events.ndjson"), formsOf(t), [][]byte{
		[]byte(spell(`{ "iocpipe" : {"verdict":"x", "a" : 1 }, IP, "threat": {"enrichments": [ {"b":[2]}, STALE ] } } `)),
	})
	random := rand.New(rand.NewPCG(1, 2))
	for _, line := range lines {
		for _, out := range formsWith(atNoon(), line, find(line)) {
			for n := range out {
				if !standsFor(line, out, n) {
					continue
				}
				other := out[n] ^ byte(1+random.IntN(255))
				for _, mutant := range [][]byte{
					slices.Concat(out[:n], []byte{other}, out[n+1:]),
					slices.Concat(out[:n], out[n+1:]),
					slices.Concat(out[:n+1], out[n:]),
				} {
					if VerifyLine(line, mutant) == nil && !bytes.Equal(mutant, out) {
						t.Fatalf("accepted\n in %q\nout %q\nfor %q", line, mutant, out)
					}
				}
			}
		}
	}
}

func formsWith(a *Annotator, line []byte, hits []Hit) [][]byte {
	event, ok := a.AppendJSON(nil, line, hits)
	if ok {
		return [][]byte{event}
	}
	return [][]byte{a.AppendText(nil, line, hits), a.AppendWrapped(nil, nil, line, hits)}
}

// standsFor reports whether out[n] is certainly a byte of the line: one that comes before the first difference.
func standsFor(line, out []byte, n int) bool {
	if bytes.HasPrefix(out, []byte(bareStart)) && !bytes.HasPrefix(line, []byte(bareStart)) {
		line = appendBare(nil, nil, line)
	}
	common := commonLen(line, out)
	tail := 0
	for tail < len(line)-common && line[len(line)-1-tail] == out[len(out)-1-tail] {
		tail++
	}
	return n < common || n >= len(out)-tail
}

func FuzzAppendJSON(f *testing.F) {
	for _, line := range linesOf(f, "events.ndjson") {
		f.Add(line)
	}
	for _, event := range []string{
		`{"a":1}`, ` { } `, "\ufeff@cee:{\"a\":\"b\"}",
		`{"a":1,"threat":{"enrichments":{"a":[{}]}},"related":"x","iocpipe":[]}`,
		`{IP,"related":{"ip":"x"},"threat":{"enrichments":[STALE,OTHER,7]},"iocpipe":{SUM,"x":[1 ,2]}}`,
		`{"iocpipe.verdict":1,"iocpipe.verdict":2,IP,"threat.enrichments":OLDER,"related.ip":null}`,
		`{"\u0069ocpipe":{"votes_min":1 , "votes_min":2},"threat.x":1,"threat":{"enrichments":[]}}`,
	} {
		f.Add([]byte(spell(event)))
	}
	f.Fuzz(checkSplice)
}

// TestRandomEvents checks events put together, with blanks at random, from the spellings that merging cares about.
func TestRandomEvents(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 3_000 {
		checkSplice(t, []byte(spell(" "+randomObject(random, "")+" ")))
	}
}

var randomNames = map[string][]string{
	"": {"a", "a", "threat", "threat", "related", "iocpipe", "thre\\u0061t", "threat.enrichments", "threat.x",
		"related.ip", "related.hosts", "iocpipe.verdict", "iocpipe.votes_min", "iocpipe.x", "iocpipex"},
	"threat":  {"enrichments", "enrichments", "x", "enrichment\\u0073"},
	"related": {"ip", "hosts", "hash", "user"},
	"iocpipe": {"verdict", "votes_min", "matches", "schema", "late", "escaped", "v\\u0065rdict"},
}

func randomBlank(random *rand.Rand) string { return []string{"", "", "", " ", "\t"}[random.IntN(5)] }

func randomObject(random *rand.Rand, path string) string {
	names := randomNames[path]
	var members []string
	for range random.IntN(5) {
		name := names[random.IntN(len(names))]
		members = append(members, `"`+name+`"`+randomBlank(random)+":"+randomBlank(random)+randomValue(random, path, name))
	}
	between := randomBlank(random) + "," + randomBlank(random)
	return "{" + randomBlank(random) + strings.Join(members, between) + randomBlank(random) + "}"
}

func randomValue(random *rand.Rand, path, name string) string {
	if path == "" && randomNames[name] != nil && random.IntN(5) > 0 {
		return randomObject(random, name)
	}
	values := []string{"null", "1.0", `"x"`, "ADDR", "{}", "[ ]", `[ "203.0.113.7" , ADDR ]`, "[[1]]", "ENTRY", "STALE",
		"[OLDER, 1]", "[ STALE,OTHER ]", "[{\"a\" : 1},OTHER,STALE]", `"malicious"`, "-1", `["ip"]`}
	return values[random.IntN(len(values))]
}

// checkSplice tests what holds for every event: the result is JSON, is proved to be the event, repeats no name, and
// stays as it is when annotated again, later.
func checkSplice(t *testing.T, event []byte) {
	start := objectStart(event)
	if start < 0 || !json.Valid(event[start:]) {
		t.Skip()
	}
	hits := []Hit{known["203.0.113.7"], known["2001:db8::7"], known["evil[.]example"], known["203.0.113.7"]}
	for i := range hits { // offsets that stay where they are
		hits[i].Field = []string{"ip", "ip", "message", "x.y"}[i]
		hits[i].Start, hits[i].End = start, start+1
	}
	once, ok := atNoon().AppendJSON(nil, event, hits)
	if !ok || !json.Valid(once[start:]) {
		t.Fatalf("no JSON\n in %s\nout %s", event, once)
	}
	if err := VerifyLine(event, once); err != nil {
		t.Fatalf("%v\n in %s\nout %s", err, event, once)
	}
	if twice, _ := at(noon.Add(time.Hour)).AppendJSON(nil, once, hits); !bytes.Equal(once, twice) {
		t.Fatalf("annotated again\nwas %s\nis  %s", once, twice)
	}
	before := repeated(event[start:])
	for path, n := range repeated(once[start:]) {
		if n > max(before[path], 1) {
			t.Fatalf("%s stands there %d times\n in %s\nout %s", path, n, event, once)
		}
	}
	checkForeign(t, event[start:], once[start:])
}

// checkForeign compares what encoding/json makes of all members that have no name of the annotation.
func checkForeign(t *testing.T, event, out []byte) {
	was, is := foreignMembers(t, event), foreignMembers(t, out)
	if len(was) != len(is) {
		t.Fatalf("%d members were %d", len(is), len(was))
	}
	for name, value := range was {
		if !bytes.Equal(value, is[name]) {
			t.Fatalf("%q: %s was %s", name, is[name], value)
		}
	}
}

func foreignMembers(t *testing.T, event []byte) map[string]json.RawMessage {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(event, &members); err != nil {
		t.Fatal(err)
	}
	for name := range members {
		family, _, _ := strings.Cut(name, ".")
		if slices.Contains(familyNames[:], family) {
			delete(members, name)
		}
	}
	return members
}

// repeated counts the members of an event by path, down to those of an annotation.
func repeated(event []byte) map[string]int {
	counts := make(map[string]int)
	var count func(raw json.RawMessage, path string, depth int)
	count = func(raw json.RawMessage, path string, depth int) {
		dec := json.NewDecoder(bytes.NewReader(raw))
		if token, _ := dec.Token(); token != json.Delim('{') || depth == 0 {
			return
		}
		for dec.More() {
			name, _ := dec.Token()
			var value json.RawMessage
			dec.Decode(&value)
			at := path + "/" + name.(string)
			counts[at]++
			count(value, fmt.Sprint(at, "#", counts[at]), depth-1)
		}
	}
	count(event, "", 2)
	return counts
}
