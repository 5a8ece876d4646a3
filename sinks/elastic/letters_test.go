package elastic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// readLetters returns what a file of dead letters holds, and which of its lines are none.
func readLetters(t *testing.T, content []byte) (pairs [][]byte, broken []int) {
	t.Helper()
	err := ReadLetters(bytes.NewReader(content), func(pair []byte) error {
		pairs = append(pairs, bytes.Clone(pair))
		return nil
	}, func(number int, _ []byte, _ error) error {
		broken = append(broken, number)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pairs, broken
}

// Every document comes back byte for byte, whatever it holds.
func TestLettersRoundTrip(t *testing.T) {
	documents := []string{
		`{"n": 12345678901234567890123, "e":1.0e5,"s":"<&>\u0041\/"}`,
		`{"a":1,"a":2}`,
		`{"broken":`,
		"{\"raw\":\"\xff\"}",
		`{"u":"   "}`,
		"not JSON at all \x00\x01",
		`null`, `[]`, `"x"`, `  {"spaces":  1 }  `,
	}
	path := filepath.Join(t.TempDir(), "dead.ndjson")
	d := NewDeadLetters(path)
	action := []byte(`{"create":{"_index":"logs-<x>","_id":"a\u0001b","routing":"r"}}`)
	for _, document := range documents {
		l := Letter{time.Unix(1, 0), action, []byte(document), Error{400, "mapper_parsing_exception", "why \"so\""}, 3}
		if err := d.Add([]Letter{l}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	content, _ := os.ReadFile(path)
	pairs, broken := readLetters(t, content)
	if len(pairs) != len(documents) || broken != nil {
		t.Fatalf("%d letters come back, %v are broken:\n%s", len(pairs), broken, content)
	}
	for i, pair := range pairs {
		line, document, _ := bytes.Cut(pair, []byte("\n"))
		name, to, err := parseAction(line)
		if err != nil || name != "create" || to != (target{"logs-<x>", "a\u0001b"}) || !bytes.Contains(line, []byte(`"routing":"r"`)) {
			t.Errorf("action %s, %v", line, err)
		}
		if string(document) != documents[i]+"\n" {
			t.Errorf("document %q, want %q", document, documents[i])
		}
	}
	for line := range bytes.Lines(content) {
		if !json.Valid(line) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

// A document without an _id gets the same one each time that its letter is sent.
func TestReplayID(t *testing.T) {
	l := Letter{Action: []byte(`{"create":{"_index":"logs"}}`), Document: []byte(`{}`)}
	content := l.append(l.append(nil))
	first, _ := readLetters(t, content)
	second, _ := readLetters(t, content)
	_, a, _ := parseAction(bytes.SplitN(first[0], []byte("\n"), 2)[0])
	_, b, _ := parseAction(bytes.SplitN(first[1], []byte("\n"), 2)[0])
	if a.ID == "" || a.ID == b.ID || !bytes.Equal(first[0], second[0]) {
		t.Errorf("IDs %q and %q; %s, %s", a.ID, b.ID, first[0], second[0])
	}
}

// A line that a killed process left unfinished spoils neither the one after it nor the reading.
func TestUnfinishedLetter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead.ndjson")
	l := Letter{Action: []byte(`{"create":{"_index":"logs"}}`), Document: []byte(`{"n":1}`)}
	line := l.append(nil)
	if err := os.WriteFile(path, append(line, line[:30]...), 0o600); err != nil {
		t.Fatal(err)
	}
	d := NewDeadLetters(path)
	if err := d.Add([]Letter{l}); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	content, _ := os.ReadFile(path)
	if pairs, broken := readLetters(t, content); len(pairs) != 2 || fmt.Sprint(broken) != "[2]" {
		t.Errorf("%d letters, broken %v:\n%s", len(pairs), broken, content)
	}
}

// A full disk is an error, and no letter is half there.
func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	d := NewDeadLetters("/dev/full")
	l := Letter{Action: []byte(`{"create":{"_index":"logs"}}`), Document: []byte(`{}`)}
	if err := d.Add([]Letter{l}); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("error %v", err)
	}
}

func TestCheckLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead.ndjson")
	if err := NewDeadLetters(path).Check(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file without letters is left")
	}
	if err := NewDeadLetters(filepath.Join(path, "x", "y")).Check(); err == nil {
		t.Error("a file in no folder can be written")
	}
}

func FuzzParseLetter(f *testing.F) {
	l := Letter{Action: []byte(`{"index":{"_index":"logs"}}`), Document: []byte("\xff")}
	f.Add(l.append(nil))
	f.Add([]byte(`{"action":{"create":{}},"document":{"a":"b"},"replay_id":"x"}`))
	f.Add([]byte(`{"action":{"delete":{}},"document":1}`))
	f.Add([]byte(`{"action":null,"document_base64":""}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		pair, err := parseLetter(line)
		if err != nil {
			return
		}
		if c, err := newCall(pair); err != nil || len(c.items) != 1 { // what is read can be sent, as one item
			t.Errorf("%q becomes %q: %v", line, pair, err)
		}
	})
}

func FuzzParseResults(f *testing.F) {
	f.Add([]byte(`{"items":[{"create":{"status":201}},{"index":{"status":400,"error":{"type":"x","reason":"y","caused_by":{"reason":"z"}}}}]}`))
	f.Add([]byte(`{"items":[{"create":{"status":201,"failure_store":"used"}},{"create":{"status":429,"error":"text"}}]}`))
	f.Add([]byte(`{"items":[{},{"create":5}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		results, err := parseResults(body, 2)
		if err == nil && len(results) != 2 {
			t.Errorf("%d results", len(results))
		}
		for i := range results {
			results[i].fate()
		}
	})
}
