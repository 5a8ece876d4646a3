package feed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRegistryIsReadByPeople(t *testing.T) {
	w := newWorld(t)
	f := ofURL("own", "https://lists.example/a.txt?x=1&y=2")
	f.Votes, f.Least, f.KeyEnv, f.KeyHeader = new(int8), Duration(90*time.Minute), "MY_KEY", "X-Key"
	f.Every, f.Added = 36*hour, w.clock()
	w.add(f)
	data, err := os.ReadFile(w.path)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "feeds": [
    {
      "name": "own",
      "from": "https://lists.example/a.txt?x=1&y=2",
      "every": "36h",
      "least": "1h30m",
      "votes": 0,
      "key_env": "MY_KEY",
      "key_header": "X-Key",
      "added": "2026-11-01T12:00:00Z"
    }
  ]
}
`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(f, w.registered("own")); diff != "" {
		t.Error(diff)
	}
}

func TestRegistryThatIsBroken(t *testing.T) {
	for text, want := range map[string]string{
		``:                              "mend it, or remove it",
		`{"feeds":[{"name":"x"`:         "mend it, or remove it",
		`{"feeds":[{"colour":"red"}]}`:  `unknown field "colour"`,
		`{"feeds":[{"name":"A b"}]}`:    `feed 1: name "A b"`,
		`{"feeds":[{"every":"often"}]}`: "often",
	} {
		path := filepath.Join(t.TempDir(), FileName)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", text, err)
		}
		if err := Change(t.Context(), path, func(*Registry) error { return nil }); err == nil {
			t.Errorf("%s: was written over", text)
		}
	}
}

func TestManyChangesAtOnce(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { w.add(ofURL(fmt.Sprintf("f%d", i), "https://lists.example/a")) })
	}
	wg.Wait()
	if r, err := Load(w.path); err != nil || len(r.Feeds) != 20 {
		t.Errorf("%d feeds, %v", len(r.Feeds), err)
	}
}

func TestAdd(t *testing.T) {
	var r Registry
	f := ofURL("a", "https://lists.example/a")
	if isNew, err := r.Add(f); !isNew || err != nil {
		t.Error(isNew, err)
	}
	r.Feeds[0].State = State{Good: time.Unix(1, 0), SHA256: "x", ETag: "y", Entries: 3}
	f.Every = 2 * hour
	if isNew, err := r.Add(f); isNew || err != nil || r.Feeds[0].Every != 2*hour || r.Feeds[0].SHA256 != "x" {
		t.Errorf("another interval: %v, %+v", err, r.Feeds[0])
	}
	f.Format = "hosts"
	if _, err := r.Add(f); err != nil || r.Feeds[0].SHA256 != "" || r.Feeds[0].ETag != "" || r.Feeds[0].Entries != 3 {
		t.Errorf("another format: %v, %+v", err, r.Feeds[0])
	}
	f.From = "https://lists.example/b"
	if _, err := r.Add(f); err == nil {
		t.Error("another feed took the name")
	}
}

func TestValidate(t *testing.T) {
	for want, f := range map[string]Feed{
		"":                          {Name: "a", From: "https://lists.example/a", Every: hour},
		"letters":                   {Name: "Ä", From: "https://lists.example/a", Every: hour},
		"at least 1m":               {Name: "a", From: "https://lists.example/a", Every: 1},
		"wants at least 1h":         {Name: "a", From: "https://lists.example/a", Every: hour / 2, Least: hour},
		"plain http":                {Name: "a", From: "http://lists.example/a", Every: hour},
		"user or password":          {Name: "a", From: "https://me:pw@lists.example/a", Every: hour},
		"not of the form":           {Name: "a", From: "https://", Every: hour},
		"not the key":               {Name: "a", From: "https://lists.example/a", Every: hour, KeyEnv: "se-cret", KeyHeader: "X"},
		"both are needed":           {Name: "a", From: "https://lists.example/a", Every: hour, KeyEnv: "KEY"},
		"stands for a key":          {Name: "a", From: "https://lists.example/{key}", Every: hour},
		"not a name of an HTTP":     {Name: "a", From: "https://lists.example/a", Every: hour, KeyEnv: "KEY", KeyHeader: "X Y"},
		"a key is never sent":       {Name: "a", From: "http://lists.example/a", Every: hour, KeyEnv: "KEY", KeyHeader: "X", InsecureHTTP: true},
		"a URL with a key must be":  {Name: "a", From: "https://lists.example/a", Every: hour, KeyEnv: "KEY", KeyFrom: "http://x/{key}"},
		"must be -1 (malicious), 0": {Name: "a", From: "https://lists.example/a", Every: hour, Votes: votes(2)},
	} {
		err := f.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", f, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("the password is told: %v", err)
		}
	}
	for _, host := range []string{"127.0.0.1:80", "10.1.2.3", "[::1]", "intranet", "a.local", "localhost"} {
		f := ofURL("a", "http://"+host+"/a")
		if err := f.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func votes(v int8) *int8 { return &v }

func TestKnownFeeds(t *testing.T) {
	names := make(map[string]bool)
	for _, k := range KnownFeeds() {
		if err := k.Validate(); err != nil {
			t.Errorf("%s: %v", k.Name, err)
		}
		if !strings.HasPrefix(k.From, "https://") || !strings.HasPrefix(k.Page, "https://") || k.About == "" || k.License == "" || k.Format == "" {
			t.Errorf("%+v", k)
		}
		if names[k.Name] {
			t.Errorf("%s is there twice", k.Name)
		}
		names[k.Name] = true
		if strings.Contains(k.From, "spamhaus") && k.Least < hour || k.Least < Duration(5*time.Minute) {
			t.Errorf("%s: least %s", k.Name, k.Least)
		}
	}
}

func TestNamed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"Hosts File.csv", "corp.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for arg, want := range map[string]string{
		"urlhaus":                                   "urlhaus",
		"https://lists.example/Bad_IPs.txt.gz":      "bad_ips",
		"https://lists.example/":                    "lists.example",
		"https://lists.example/x?list=1":            "x",
		filepath.Join(dir, "Hosts File.csv"):        "hosts-file",
		"file://" + filepath.Join(dir, "corp.json"): "corp", "urlhous": "!", filepath.Join(dir, "missing"): "!",
		"threatcrowd:https://crowd.example": "threatcrowd-domains threatcrowd-ips threatcrowd-hashes",
		"threatcrowd:ftp://crowd.example":   "!",
		"https://me:pw@lists.example/a":     "!",
		"ftp://lists.example/a":             "!",
		"file://elsewhere/etc/intel":        "!",
		"":                                  "!",
	} {
		feeds, err := Named(arg)
		if err != nil {
			if want != "!" {
				t.Errorf("%s: %v", arg, err)
			}
			continue
		}
		var names []string
		for _, f := range feeds {
			names = append(names, f.Name)
			if err := f.Validate(); err != nil {
				t.Errorf("%s: %v", arg, err)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s is %s, want %s", arg, got, want)
		}
	}
}

func TestAges(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	r := Registry{Feeds: []Feed{
		{Name: "fresh", Every: hour, State: State{Good: now.Add(-2 * time.Hour)}},
		{Name: "stale", Every: hour, State: State{Good: now.Add(-4 * time.Hour), Error: "404 Not Found"}},
		{Name: "quiet", Every: hour, State: State{Good: now.Add(-100 * time.Hour)}},
		{Name: "patient", Every: hour, MaxAge: day, State: State{Good: now.Add(-4 * time.Hour)}},
		{Name: "never", Every: hour, State: State{Added: now.Add(-5 * time.Hour), Error: "timeout"}},
		{Name: "new", Every: hour, State: State{Added: now}},
		{Name: "tomorrow", Every: hour, State: State{Good: now.Add(time.Hour)}},
	}}
	want := []string{
		"2h0m0s", "4h0m0s feed stale is 4h old, more than 3h; the last try failed: 404 Not Found",
		"100h0m0s feed quiet is 4d old, more than 3h; is intel update run by a timer?", "4h0m0s",
		"5h0m0s feed never: nothing has come since it was added 5h ago; the last try failed: timeout", "0s", "0s",
	}
	var got []string
	for _, a := range r.Ages(now) {
		got = append(got, strings.TrimSpace(a.Age.String()+" "+a.Warning()))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
