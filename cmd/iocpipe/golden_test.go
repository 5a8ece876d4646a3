package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var annotationTime = regexp.MustCompile(`(occurred|enriched_at|fetched_at)":"[^"]*"`)

// stableTimes gives the times that an annotation adds one value, so that output can be compared.
func stableTimes(out []byte) []byte {
	return annotationTime.ReplaceAll(out, []byte(`$1":"2026-03-04T09:15:25.310Z"`))
}

// The README's first command, in each form, as files to look at.
func TestFirstCommandGolden(t *testing.T) {
	t.Chdir("../..")
	logs, err := filepath.Glob("testdata/logs/*.log")
	if err != nil || len(logs) == 0 {
		t.Fatal("no logs", err)
	}
	for _, form := range []string{"text", "ndjson", "pretty"} {
		t.Run(form, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := append([]string{"--state", "none", "--intel", "testdata/intel", "--output", form}, logs...)
			if code := run(args, console{bytes.NewReader(nil), &stdout, &stderr}); code != 0 || stderr.Len() > 0 {
				t.Fatalf("exit code %d: %s", code, &stderr)
			}
			compareGolden(t, "cmd/iocpipe/testdata/first-command."+form+".golden", stableTimes(stdout.Bytes()))
		})
	}
}

func compareGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := bytes.SplitAfter(got, []byte("\n")), bytes.SplitAfter(want, []byte("\n"))
	for i := range min(len(gotLines), len(wantLines)) {
		if !bytes.Equal(gotLines[i], wantLines[i]) {
			t.Fatalf("%s:%d:\n got %s\nwant %s", path, i+1, gotLines[i], wantLines[i])
		}
	}
	if len(gotLines) != len(wantLines) {
		t.Fatalf("%s: %d lines, want %d", path, len(gotLines), len(wantLines))
	}
}
