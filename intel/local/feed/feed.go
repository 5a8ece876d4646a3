// Package feed keeps lists of intelligence that others publish: which feeds this host follows, what is known of the
// public ones, and fetching what is due.
//
// A feed is a URL, a file or a folder that is read again and again. What it says goes into the host's store under the
// feed's name and replaces what it said before, but only when it is good: content that is empty, cut off, an error
// page, mostly refused or suspiciously small changes nothing. How often a feed may be asked is the publisher's word:
// the interval is a wish, [Feed.Least] and a Retry-After are not.
//
// How content is read and where entries are kept is the caller's: see [Formats] and [Store].
package feed

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"iocpipe/httpclient"
)

// A Feed is one list that this host follows, as the registry keeps it.
type Feed struct {
	Name   string   `json:"name"`
	From   string   `json:"from"`             // an http(s) URL, or the path of a file or folder
	Format string   `json:"format,omitempty"` // "": told by content
	Every  Duration `json:"every"`            // how often it is fetched
	Least  Duration `json:"least,omitzero"`   // never sooner than this after the last try, whatever is asked for
	MaxAge Duration `json:"max_age,omitzero"` // older than this it is stale; 0 is 3 × Every
	Votes  *int8    `json:"votes,omitempty"`  // what being listed means: -1 malicious, 0 undecided, 1 benign; nil: what the format says

	// A key is taken from the environment when it is needed and kept nowhere. It is sent as the header KeyHeader, or
	// stands for {key} in KeyFrom, which then replaces From.
	KeyEnv    string `json:"key_env,omitempty"`
	KeyHeader string `json:"key_header,omitempty"`
	KeyFrom   string `json:"key_from,omitempty"`
	KeyNeeded bool   `json:"key_needed,omitempty"` // nothing is given without one

	InsecureHTTP bool `json:"insecure_http,omitempty"` // plain http to a public host was asked for
	MayBeEmpty   bool `json:"may_be_empty,omitempty"`  // a good list of it may have no entry, or few

	State
}

// A State is what became of a feed so far.
type State struct {
	Added     time.Time `json:"added,omitzero"`
	Tried     time.Time `json:"tried,omitzero"`      // last asked
	Good      time.Time `json:"good,omitzero"`       // last time its content was good, or still the same
	NotBefore time.Time `json:"not_before,omitzero"` // the server's Retry-After
	Failures  int       `json:"failures,omitempty"`  // since Good
	Error     string    `json:"error,omitempty"`     // of the last try

	// Of the content that the store holds:
	Entries      int    `json:"entries,omitempty"`
	Refused      int    `json:"refused,omitempty"` // records
	Bytes        int64  `json:"bytes,omitempty"`   // as read, before the decompression of the file itself
	SHA256       string `json:"sha256,omitempty"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	Of           string `json:"of,omitempty"` // the URL that gave ETag and LastModified, with {key} for a key
}

// A Duration is a time.Duration that is written as people do: 30m, 24h.
type Duration time.Duration

// String returns d without units that are zero.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText returns what [Duration.String] does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads, but for what is negative.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err == nil && parsed < 0 {
		err = fmt.Errorf("duration %s is below 0", text)
	}
	*d = Duration(parsed)
	return err
}

// DefaultEvery is how often a feed of one's own is fetched if nothing else is said.
const DefaultEvery = Duration(time.Hour)

// Own returns a feed of the user's own, from a URL (http, https, file) or the path of a file or folder, with the
// defaults and a name that is made from it.
func Own(from string) (Feed, error) {
	f := Feed{From: from, Every: DefaultEvery}
	base := from
	if isWeb(from) {
		u, err := parseURL(from)
		if err != nil {
			return Feed{}, err
		}
		if name := keyIn(u); name != "" {
			return Feed{}, fmt.Errorf("%s: the value of %s in the URL, if it is a key, can be read by everyone on this host: write %s=%s and name the variable of the environment that holds it (--key-env)", u.Host, name, name, keyMark)
		}
		base = path.Base(u.Path)
		if base == "/" || base == "." {
			base = u.Hostname()
		}
	} else {
		local, err := localPath(from)
		if err != nil {
			return Feed{}, err
		}
		f.From = local
		base = filepath.Base(local)
	}
	f.Name = nameOf(base)
	return f, nil
}

// nameOf makes the name of a feed from that of a file: without extensions of formats and compressions.
func nameOf(base string) string {
	name := strings.ToLower(base)
	for {
		ext := path.Ext(name)
		switch ext {
		case ".gz", ".zst", ".bz2", ".zip", ".txt", ".csv", ".json", ".ndjson", ".jsonl", ".list", ".netset", ".ipset", ".xml", ".tsv":
			name = strings.TrimSuffix(name, ext)
			continue
		}
		name = strings.Trim(notInName.ReplaceAllString(name, "-"), "-._")
		return name[:min(len(name), maxName)]
	}
}

const maxName = 64

var (
	notInName = regexp.MustCompile(`[^a-z0-9._-]+`)
	wholeName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)
	envName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	header    = regexp.MustCompile(`^[A-Za-z0-9-]+$`)
)

// Validate reports what is wrong with the settings of f. Its errors name the setting and hold no secret.
func (f *Feed) Validate() error {
	switch {
	case !wholeName.MatchString(f.Name) || len(f.Name) > maxName:
		return fmt.Errorf("name %q: small letters, digits, dots and dashes, at most %d", f.Name, maxName)
	case f.Every < Duration(time.Minute):
		return fmt.Errorf("interval %s: must be at least 1m", f.Every)
	case f.Every < f.Least:
		return fmt.Errorf("interval %s: the publisher of %s wants at least %s between two downloads", f.Every, f.Name, f.Least)
	case f.Votes != nil && (*f.Votes < -1 || *f.Votes > 1):
		return fmt.Errorf("votes %d: must be -1 (malicious), 0 (undecided) or 1 (benign)", *f.Votes)
	case f.KeyEnv != "" && !envName.MatchString(f.KeyEnv):
		return errors.New("key: give the name of a variable of the environment that holds it, not the key")
	case f.KeyEnv == "" && f.KeyHeader != "" || f.KeyEnv != "" && f.KeyHeader == "" && !strings.Contains(f.From+f.KeyFrom, keyMark):
		return fmt.Errorf("key: both are needed, the variable that holds it and the header that it is sent in (or %s in the URL)", keyMark)
	case f.KeyHeader != "" && !header.MatchString(f.KeyHeader):
		return fmt.Errorf("key header %q: not a name of an HTTP header, such as Auth-Key", f.KeyHeader)
	case f.KeyEnv == "" && strings.Contains(f.From, keyMark):
		return fmt.Errorf("key: %s in the URL stands for a key: say which variable of the environment holds it", keyMark)
	case f.KeyFrom != "" && !strings.HasPrefix(f.KeyFrom, "https://"):
		return errors.New("key: a URL with a key must be https")
	case !isWeb(f.From):
		return nil
	}
	return f.validateURL()
}

func (f *Feed) validateURL() error {
	u, err := parseURL(f.From)
	if err != nil {
		return err
	}
	switch err := httpclient.CheckPlain(u); {
	case err != nil && !f.InsecureHTTP:
		return err
	case err != nil && f.KeyEnv != "":
		return fmt.Errorf("%s: a key is never sent by plain http", u.Host)
	}
	return nil
}

// keyMark stands for the key in a URL.
const keyMark = "{key}"

// source returns where f is fetched from, with a mark for the key, and the key, if there is one.
func (f *Feed) source(getenv func(string) string) (from, key string) {
	if f.KeyEnv != "" {
		key = strings.TrimSpace(getenv(f.KeyEnv))
	}
	if key != "" && f.KeyFrom != "" {
		return f.KeyFrom, key
	}
	return f.From, key
}

// Limit returns the age from which on f is stale.
func (f *Feed) Limit() time.Duration {
	if f.MaxAge > 0 {
		return time.Duration(f.MaxAge)
	}
	return 3 * time.Duration(f.Every)
}

func isWeb(from string) bool {
	return strings.HasPrefix(from, "http://") || strings.HasPrefix(from, "https://")
}

// parseURL reads an http(s) URL. Its errors do not quote it: a URL may hold a secret.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("not of the form http(s)://host[:port]/path")
	case u.User != nil:
		return nil, fmt.Errorf("%s: a user or password in the URL can be read by everyone on this host: use a key from the environment", u.Host)
	}
	return u, nil
}

// keyIn returns the name of a parameter of u that is usually a key, or nothing when there is none.
func keyIn(u *url.URL) string {
	for name, values := range u.Query() {
		plain := strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(name))
		if slices.Contains([]string{"key", "apikey", "authkey", "token", "apitoken", "accesstoken", "authtoken", "password", "secret"}, plain) &&
			values[0] != "" && values[0] != keyMark {
			return name
		}
	}
	return ""
}

// localPath returns the absolute path that from names, as a path or a file URL.
func localPath(from string) (string, error) {
	if scheme, _, found := strings.Cut(from, "://"); found {
		u, err := url.Parse(from)
		if err != nil || scheme != "file" || u.Host != "" && u.Host != "localhost" || u.Path == "" {
			return "", fmt.Errorf("%s: neither http(s)://host/path nor file:///path", from)
		}
		from = u.Path
	}
	if from == "" {
		return "", errors.New("an empty path")
	}
	return filepath.Abs(from)
}
