package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"iocpipe/filter/annotate"
)

// pass runs the filter on in, with a list that knows 203.0.113.7, and returns what came out.
func pass(t *testing.T, in string, args ...string) string {
	t.Helper()
	list := filepath.Join(t.TempDir(), "list.txt")
	writeFile(t, list, "203.0.113.7\n")
	var stdout, stderr bytes.Buffer
	args = append([]string{"--state", "none", "--intel", list}, args...)
	if code := run(args, console{strings.NewReader(in), &stdout, &stderr}); code != exitOK || stderr.Len() > 0 {
		t.Fatalf("%q: exit code %d: %s", in, code, &stderr)
	}
	return stdout.String()
}

// note is what is appended to a text line that names 203.0.113.7.
const note = ` iocpipe={"verdict":"malicious","matches":[` +
	`{"value":"203.0.113.7","type":"ip","verdict":"malicious","source":"list","votes":-1}]}`

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What nothing is known of leaves as it came, whatever bytes it holds.
func TestUnknownLinesLeaveUntouched(t *testing.T) {
	for name, in := range map[string]string{
		"empty input":         "",
		"an empty line":       "\n",
		"empty lines":         "\n\r\n\n",
		"no final newline":    "one\ntwo",
		"only no newline":     "x",
		"CRLF":                "one\r\ntwo\r\n",
		"CR alone":            "one\rtwo\r\r\n",
		"ends in CR":          "one\r",
		"NUL":                 "a\x00b\n\x00\n\x00",
		"invalid UTF-8":       "a\xff\xfe\x80b\xc3\n{\"a\":\"\xff\"}\n",
		"overlong and halves": "\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80\n",
		"BOM":                 "\ufeffplain\n\ufeff{\"a\":1}\n",
		"UTF-16":              "\xff\xfeh\x00i\x00\n\x00",
		"separators":          "a\u2028b\u2029c\u0085d\v\f\n",
		"escapes":             "\x1b[31mred\x1b[0m \u202e\n",
		"blanks":              " \t \n \n",
		"gzip magic":          "\x1f\x8b\x08 is not gzip\nhere\n",
		"zstd magic":          "\x28\xb5\x2f\xfd\n",
		"an annotation":       `x iocpipe={"verdict":"malicious"}` + "\n",
		"JSON":                `{"a":1.0,"b":1e400,"c":12345678901234567890,"d":"\u0000\ud800"}` + "\n",
		"JSON and CRLF":       "{\"a\": 1}\r\n[1]\r\n\"x\"\r\n",
		"JSON array":          `["203.0.113.8"]` + "\n",
		"a long line":         strings.Repeat("x", 3<<20) + "\nshort\n",
		"many short lines":    strings.Repeat("\n", 100_000) + "x",
	} {
		t.Run(name, func(t *testing.T) {
			if got := pass(t, in); got != in {
				t.Errorf("got %.200q\nwant %.200q", got, in)
			}
		})
	}
}

// Endings stay where a line is annotated, and wherever two blocks meet.
func TestAnnotatedLinesKeepTheirEndings(t *testing.T) {
	const known = "from 203.0.113.7"
	for _, ending := range []string{"", "\n", "\r\n"} {
		if got, want := pass(t, known+ending), known+note+ending; got != want {
			t.Errorf("%q: got %q", ending, got)
		}
	}
	in := strings.Repeat(known+"\r\n\n\x00\xff "+known+"\n", 20_000)
	want := strings.Repeat(known+note+"\r\n\n\x00\xff "+known+note+"\n", 20_000)
	if got := pass(t, in); got != want {
		t.Error("a long input leaves otherwise than its lines do")
	}
}

// validEvents are JSON objects that a filter gets wrong when it parses by hand; each holds a known address.
var validEvents = []string{
	`{"ip":"203.0.113.7"}`,
	` {"ip":"203.0.113.7"} `,
	"\t{ \"ip\" :\t\"203.0.113.7\"\t} ",
	"\ufeff" + `{"ip":"203.0.113.7"}`,
	`@cee: {"ip":"203.0.113.7"}`,
	`@cee:{"ip":"203.0.113.7"}`,
	`{"":"203.0.113.7"}`,
	`{"ip":"203.0.113.7","":{"":{"":[]}}}`,
	`{"ip":"\u0032\u00303.0.113.7"}`,
	`{"ip":"203.0.113.7","\u0074hreat":{"a":1}}`,
	`{"ip":"203.0.113.7","a":"\"}","b":"{\\"}`,
	`{"ip":"203.0.113.7","a":"\\\\","b":"\\\""}`,
	`{"ip":"203.0.113.7","a":"\ud83d\ude00 \u2028 \ud800"}`,
	`{"ip":"203.0.113.7","n":[0,-0,-0.0,1E+2,1e-2,0.1,1e999,123456789012345678901234567890]}`,
	`{"ip":"203.0.113.7","n":[true,false,null,{},[],""]}`,
	`{"a":{"b":[{"c":["203.0.113.7"]}]}}`,
	`{"ip":"203.0.113.7","ip":"203.0.113.7","ip":1}`,
	`{"ip":"203.0.113.7","threat":{},"threat":{}}`,
	`{"ip":"203.0.113.7","iocpipe":[],"related":0,"threat":"x"}`,
	`{"ip":"203.0.113.7","threat.enrichments":[{}],"threat":{"enrichments":[{}]}}`,
	`{"ip":"203.0.113.7","related":{"ip":null},"related.hosts":"x"}`,
	`{"ip":"203.0.113.7","a":"` + strings.Repeat(`\n`, 5000) + `"}`,
	`{"ip":"203.0.113.7","a":` + strings.Repeat(`[`, 200) + strings.Repeat(`]`, 200) + `}`,
}

// invalidEvents look like JSON objects and are none: they are text.
var invalidEvents = []string{
	`{`, `}`, `{}{`, `{"ip"`, `{"ip":`, `{"ip":}`, `{"ip":"203.0.113.7"`, `{"ip":"203.0.113.7",}`,
	`{"ip":"203.0.113.7"},`, `{"ip":"203.0.113.7"}}`, `{"ip":"203.0.113.7"} {"ip":"203.0.113.7"}`,
	`{"ip":"203.0.113.7" "a":1}`, `{ip:"203.0.113.7"}`, `{'ip':'203.0.113.7'}`, `{"ip":203.0.113.7}`,
	`{"ip":"203.0.113.7","a":01}`, `{"ip":"203.0.113.7","a":1.}`, `{"ip":"203.0.113.7","a":.1}`,
	`{"ip":"203.0.113.7","a":+1}`, `{"ip":"203.0.113.7","a":1e}`, `{"ip":"203.0.113.7","a":NaN}`,
	`{"ip":"203.0.113.7","a":-}`, `{"ip":"203.0.113.7","a":0x1}`, `{"ip":"203.0.113.7","a":True}`,
	`{"ip":"203.0.113.7","a":nul}`, `{"ip":"203.0.113.7","a":"\x"}`, `{"ip":"203.0.113.7","a":"\u12"}`,
	`{"ip":"203.0.113.7","a":"\u12G4"}`, "{\"ip\":\"203.0.113.7\",\"a\":\"\x01\"}",
	"{\"ip\":\"203.0.113.7\",\"a\":\"\t\"}", "{\"ip\":\"203.0.113.7\",\"a\":\"\xff\"}",
	"{\"ip\":\"203.0.113.7\"}\x00", "{\"ip\":\"203.0.113.7\"\x00}", `{"ip":"203.0.113.7"}#`,
	`{"ip":"203.0.113.7"}//x`, `{/**/"ip":"203.0.113.7"}`, `{"ip":"203.0.113.7",,"a":1}`, `{"ip"::"203.0.113.7"}`,
	`{"ip":["203.0.113.7"}`, `{"ip":"203.0.113.7"]`, `{"ip":"203.0.113.7","a":[1,]}`,
	`{"ip":"203.0.113.7","a":[,1]}`, `{"ip":"203.0.113.7",1:2}`, `{"ip":"203.0.113.7",null}`,
	"\u00a0{\"ip\":\"203.0.113.7\"}", `["203.0.113.7"]`, `"203.0.113.7"`, `@cee: 203.0.113.7`,
	`@cee: {"ip":"203.0.113.7"`,
}

// An event that is valid JSON is spliced, in every form of output; what only looks like one is text.
func TestJSONTorture(t *testing.T) {
	for _, form := range []string{"text", "ndjson"} {
		for _, in := range validEvents {
			out := strings.TrimSuffix(pass(t, in+"\n", "--output", form), "\n")
			object := strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(out, "\ufeff"), "@cee:"))
			if !json.Valid([]byte(object)) || !strings.Contains(out, `enrichments":[`) {
				t.Errorf("%s: %s became %s", form, in, out)
			}
			if err := annotate.VerifyLine([]byte(in), []byte(out)); err != nil {
				t.Errorf("%s: %s became %s: %v", form, in, out, err)
			}
		}
	}
	for _, in := range invalidEvents {
		out := strings.TrimSuffix(pass(t, in+"\n"), "\n")
		added, ok := strings.CutPrefix(out, in)
		known := strings.Contains(in, "203.0.113.7")
		if !ok || known != strings.HasPrefix(added, ` iocpipe={"verdict":"malicious"`) || !known && added != "" {
			t.Errorf("text: %q became %q", in, out)
		}
		out = strings.TrimSuffix(pass(t, in+"\n", "--output", "ndjson"), "\n")
		if message, ok := unwrap(t, out); !ok || message != in && !slices.Contains([]byte(in), 0xff) {
			t.Errorf("ndjson: %q became %q", in, out)
		}
	}
}

// unwrap returns the message of a wrapped line.
func unwrap(t *testing.T, line string) (message string, ok bool) {
	t.Helper()
	var event struct{ Message *string }
	if err := json.Unmarshal([]byte(line), &event); err != nil || event.Message == nil {
		return "", false
	}
	return *event.Message, true
}

// Each line over the limit passes whole, in every form, wherever the limit falls.
func TestLongLinesPassWhole(t *testing.T) {
	for length := 30; length < 60; length++ {
		line := "from 203.0.113.7 " + strings.Repeat("x", length-17)
		for _, ending := range []string{"\n", "\r\n", ""} {
			in := "a\n" + line + ending
			want := "a\n" + line
			if length <= 40 {
				want += note
			}
			if got := pass(t, in, "--max-line", "40"); got != want+ending {
				t.Errorf("%d bytes and %q: got %q", length, ending, got)
			}
			out := strings.SplitAfter(pass(t, in, "--max-line", "40", "--output", "ndjson"), "\n")[1]
			message, ok := unwrap(t, strings.TrimSpace(out))
			if !ok || message != line || !strings.HasSuffix(out, "}"+ending) {
				t.Errorf("%d bytes and %q: got %q", length, ending, out)
			}
		}
	}
}
