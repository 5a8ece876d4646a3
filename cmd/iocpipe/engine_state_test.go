package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"iocpipe/cache/host"
	"iocpipe/lookup/lookuptest"
)

// A second run finds the answers of the first, malicious or not, and asks nothing.
func TestSecondRunAsksNothing(t *testing.T) {
	t.Parallel()
	source := maliciousOnly(t, address(3))
	args := []string{"--intel", source.URL, "--state", t.TempDir(), "--on-miss", "wait", "--wait", "10s"}
	first, _ := iocpipe(t, 0, lines(0, 20), args...)
	if n := len(source.Asked()); n != 20 || strings.Count(first, "iocpipe=") != 1 {
		t.Fatalf("%d questions, output:\n%s", n, first)
	}
	second, _ := iocpipe(t, 0, lines(0, 20), args...)
	if n := len(source.Asked()); n != 20 {
		t.Errorf("the second run asked %d times", n-20)
	}
	if strings.Count(second, "iocpipe=") != 1 {
		t.Errorf("the second run says:\n%s", second)
	}
}

// A process that is killed leaves a whole file, which has all answers but those of the last second.
func TestKilledProcessLosesLastSecond(t *testing.T) {
	t.Parallel()
	source := lookuptest.NewServer(t, lookuptest.JSON(reportUnknown))
	dir := t.TempDir()
	p := start(t, "--intel", source.URL, "--state", dir, "--rate", "100/s", "--burst", "20")
	for begun := time.Now(); time.Since(begun) < 2500*time.Millisecond; time.Sleep(5 * time.Millisecond) {
		p.say("from %s", address(int(time.Since(begun).Milliseconds())))
	}
	p.kill()
	killed := time.Now()
	db := openDB(t, dir)
	if verdict := queryOne[string](t, db, "PRAGMA integrity_check"); verdict != "ok" {
		t.Fatalf("integrity check: %s", verdict)
	}
	kept := 0
	for _, r := range source.Asked() {
		_, value, _ := strings.Cut(r.Query, "=")
		if r.Time.After(killed.Add(-time.Second)) {
			continue
		}
		kept++
		if queryOne[int](t, db, "SELECT count(*) FROM answers WHERE value = ?", value) != 1 {
			t.Errorf("%s, asked %v before the end, is lost", value, killed.Sub(r.Time))
		}
	}
	if kept < 50 {
		t.Errorf("only %d questions were asked early enough to tell", kept)
	}
}

// What is in the place of the file, and cannot be used, costs no line.
func TestUnusableStateFile(t *testing.T) {
	t.Parallel()
	newer := func(t *testing.T, dir string) {
		iocpipe(t, 0, "", "asking", "log", "--state", dir)
		if _, err := openDB(t, dir).Exec("PRAGMA user_version = 99"); err != nil {
			t.Fatal(err)
		}
	}
	foreign := func(t *testing.T, dir string) {
		if _, err := openDB(t, dir).Exec("CREATE TABLE mine (x); INSERT INTO mine VALUES (1)"); err != nil {
			t.Fatal(err)
		}
	}
	write := func(content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, host.FileName), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	cutOff := func(t *testing.T, dir string) {
		source := maliciousOnly(t)
		iocpipe(t, 0, lines(900, 20), "--intel", source.URL, "--state", dir, "--on-miss", "wait", "--wait", "10s")
		path := filepath.Join(dir, host.FileName)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		copy(data[len(data)/3:], strings.Repeat("\xff", 2*4096))
		write(string(data[:len(data)-5000]))(t, dir)
	}
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		says  string
		aside bool // the file goes on under another name
	}{
		{"text", write("this is no database\n" + strings.Repeat("x", 5000)), "set aside as state.db.corrupt-", true},
		{"half overwritten", cutOff, "set aside as state.db.corrupt-", true},
		{"of another program", foreign, "set aside as state.db.corrupt-", true},
		{"of a newer version", newer, "written by a newer iocpipe: version 99", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tt.spoil(t, dir)
			before, err := os.ReadFile(filepath.Join(dir, host.FileName))
			if err != nil {
				t.Fatal(err)
			}
			source := maliciousOnly(t)
			stdout, stderr := iocpipe(t, 1, lines(0, 3), "--intel", source.URL, "--state", dir, "--drain", "10s")
			if stdout != lines(0, 3) || len(source.Asked()) != 3 {
				t.Errorf("%d questions, output:\n%s", len(source.Asked()), stdout)
			}
			if strings.Count(stderr, "\n") != 2 || !strings.Contains(stderr, tt.says) { // and what --drain says
				t.Errorf("stderr: %s", stderr)
			}
			path := filepath.Join(dir, host.FileName)
			if tt.aside {
				found, _ := filepath.Glob(path + ".corrupt-*Z")
				if len(found) != 1 {
					t.Fatalf("set aside: %v", found)
				}
				path = found[0]
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
				t.Errorf("the file is not what it was (%v)", err)
			}
		})
	}
}

// A damaged file may hold anything: what is told of it cannot drive a terminal.
func TestDamageIsToldSafely(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	iocpipe(t, 1, "", "cache", "get", address(1), "--state", dir)
	db := openDB(t, dir)
	if _, err := db.Exec("PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = 'CREATE \x1b[2J\u202e\n' || x'c9' WHERE name = 'answers'"); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	_, stderr := iocpipe(t, 1, lines(0, 1), "--intel", maliciousOnly(t).URL, "--state", dir)
	if !strings.Contains(stderr, "set aside as state.db.corrupt-") || strings.Count(stderr, "\n") != 1 || !utf8.ValidString(stderr) ||
		strings.ContainsAny(stderr, "\x1b\u202e") {
		t.Errorf("stderr: %q", stderr)
	}
}

// A folder that cannot be used costs the state, not the lines.
func TestUnusableStateFolder(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Join(file, "state"), "/proc/iocpipe"} {
		source := maliciousOnly(t, address(1))
		stdout, stderr := iocpipe(t, 1, lines(0, 3), "--intel", source.URL, "--state", dir, "--on-miss", "wait", "--wait", "10s")
		if strings.Count(stdout, "\n") != 3 || strings.Count(stdout, "iocpipe=") != 1 {
			t.Errorf("output:\n%s", stdout)
		}
		if strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, filepath.Dir(dir)) || !strings.Contains(stderr, "memory alone") {
			t.Errorf("stderr: %s", stderr)
		}
	}
}

// What another process learns, forgets and allows reaches one that runs.
func TestRunningProcessFollows(t *testing.T) {
	t.Parallel()
	dir, allow := t.TempDir(), filepath.Join(t.TempDir(), "allow.txt")
	if err := os.WriteFile(allow, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	source := maliciousOnly(t, address(1), address(2))
	reader := start(t, "--intel", source.URL, "--state", dir, "--allow", allow, "--ask", "domain")
	reader.say("begun")
	reader.until("begun", func() bool { return reader.out.String() != "" })
	iocpipe(t, 0, lines(0, 3), "--intel", source.URL, "--state", dir, "--on-miss", "wait", "--wait", "10s")
	reader.untilAnnotated("from "+address(1), `"verdict":"malicious"`)
	if n := len(source.Asked()); n != 3 {
		t.Errorf("%d questions: the reader may ask about no address", n)
	}

	if out, _ := iocpipe(t, 0, "", "cache", "rm", address(1), "--state", dir); out != "forgot "+address(1)+"\n" {
		t.Errorf("cache rm: %s", out)
	}
	reader.untilAnnotated("again "+address(1), "again "+address(1)+"\n")
	reader.untilAnnotated("still "+address(2), `"verdict":"malicious"`)

	if err := os.WriteFile(allow, []byte(address(2)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reader.untilAnnotated("allowed "+address(2), "allowed "+address(2)+"\n")
	reader.end(0)
}

// A pause stops all questions of running processes, whatever they see, and the log has every question that was sent.
func TestAskingPauseResumeLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := maliciousOnly(t)
	asks := func(p *program, line string) {
		t.Helper()
		before := len(source.Asked())
		p.say("%s", line)
		p.until("a question about "+line, func() bool { return len(source.Asked()) > before })
	}
	var running []*program
	for i := range 2 {
		p := start(t, "--intel", source.URL, "--state", dir)
		asks(p, "from "+address(i))
		running = append(running, p)
	}
	iocpipe(t, 0, "", "asking", "pause", "--note", "a drill", "--state", dir)
	paused := len(source.Asked())
	for i, p := range running {
		for n := range 50 {
			p.say("from %s", address(100+50*i+n))
		}
		p.until("50 lines", func() bool { return strings.Count(p.out.String(), "\n") == 51 })
	}
	if out, _ := iocpipe(t, 0, "", "cache", "stats", "--state", dir); !strings.Contains(out, "asking is paused since ") ||
		!strings.Contains(out, "a drill") {
		t.Errorf("cache stats does not tell of the pause: %s", out)
	}
	if _, stderr := iocpipe(t, 1, "", "lookup", address(7), "--intel", source.URL, "--state", dir); !strings.Contains(stderr, "asking is paused") {
		t.Errorf("lookup does not tell of the pause: %s", stderr)
	}
	if told, _ := iocpipe(t, 0, "", "explain", address(7), "--intel", source.URL, "--state", dir); !strings.Contains(told, "asking is paused") {
		t.Errorf("explain does not tell of the pause: %s", told)
	}
	if n := len(source.Asked()); n != paused {
		t.Errorf("%d questions during the pause", n-paused)
	}
	iocpipe(t, 0, "", "asking", "resume", "--state", dir)
	for _, p := range running {
		p.until("102 questions", func() bool { return len(source.Asked()) == 102 })
		p.end(0)
	}
	log, _ := iocpipe(t, 0, "", "asking", "log", "--state", dir)
	entries := strings.Split(strings.TrimSuffix(log, "\n"), "\n")
	if len(entries) != len(source.Asked()) {
		t.Errorf("%d entries for %d questions", len(entries), len(source.Asked()))
	}
	for _, r := range source.Asked() {
		_, value, _ := strings.Cut(r.Query, "=")
		if !strings.Contains(log, fmt.Sprintf("\tip\t%s\t%s\t", value, source.Host)) {
			t.Errorf("%s is not in the log", value)
		}
	}
}

// What waits in a process can be asked of another: its place, when it is likely to be asked, and its score by parts.
func TestExplainWhileWaiting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := maliciousOnly(t)
	p := start(t, "--intel", source.URL, "--state", dir, "--rate", "1/1h", "--burst", "1")
	for range 3 {
		p.say("%s", strings.TrimSuffix(lines(0, 40), "\n"))
	}
	p.until("a question", func() bool { return len(source.Asked()) == 1 })
	asked := strings.TrimPrefix(source.Asked()[0].Query, "ip=")
	value := address(5)
	if value == asked {
		value = address(6)
	}
	var told string
	p.until("explain tells of the queue", func() bool {
		told, _ = iocpipe(t, 0, "", "explain", value, "--intel", source.URL, "--state", dir, "--rate", "1/1h")
		return strings.Contains(told, "waits")
	})
	for _, want := range []string{"seen 3 times, place ", ", asked in about ", "score ", " = probability ", "+1.6 mostly failed", "-4.0 nothing else known"} {
		if !strings.Contains(told, want) {
			t.Errorf("explain does not say %q:\n%s", want, told)
		}
	}
	told, _ = iocpipe(t, 0, "", "explain", address(5000), "--intel", source.URL, "--state", dir, "--rate", "1/1h")
	if !strings.Contains(told, "does not wait in the 1 running processes") || !strings.Contains(told, " 39 others do; 0 left unasked") {
		t.Errorf("explain of what nobody has seen:\n%s", told)
	}
	told, _ = iocpipe(t, 0, "", "explain", asked, "--intel", source.URL, "--state", dir)
	if !strings.Contains(told, "answer · "+source.Host+": not known") {
		t.Errorf("explain of what was asked:\n%s", told)
	}
	p.end(0)
	if left, _ := filepath.Glob(filepath.Join(dir, "waiting-*")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

// The queues of processes that were killed are swept away.
func TestQueuesOfTheDead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := filepath.Join(dir, "waiting-1.json.gz")
	if err := os.WriteFile(old, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	yesterday := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(old, yesterday, yesterday); err != nil {
		t.Fatal(err)
	}
	source := maliciousOnly(t)
	p := start(t, "--intel", source.URL, "--state", dir)
	p.until("the old queue goes", func() bool { _, err := os.Stat(old); return os.IsNotExist(err) })
	p.end(0)
}
