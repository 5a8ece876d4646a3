package local

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// Edits are what people have added to a store by hand, taken out of it and allowed, while they are changed by [Change].
type Edits struct {
	now     time.Time
	added   map[intel.Subject]*intel.Statement
	removed map[intel.Subject]*intel.Statement
	allowed map[string]permit
}

// ByHand is the source of what was added by hand and names none.
const ByHand = "manual"

// A permit is a value on the host's allow list.
type permit struct {
	Value   string
	By      string    `json:",omitempty"`
	Note    string    `json:",omitempty"`
	Added   time.Time `json:",omitzero"`
	Expires time.Time `json:",omitzero"`
}

func (p *permit) expired(now time.Time) bool { return !p.Expires.IsZero() && !now.Before(p.Expires) }

// Add adds an entry, in place of one about the same by hand, and takes back that it was removed.
func (e *Edits) Add(entry intel.Entry) error {
	if _, ok := nameOfSubject(&entry.Subject); !ok || entry.Statement == nil {
		return errNoSubject
	}
	s := *entry.Statement
	s.Source = cmp.Or(s.Source, ByHand)
	if s.Added.IsZero() {
		s.Added = e.now
	}
	delete(e.removed, removable(entry.Subject))
	e.added[entry.Subject] = &s
	return nil
}

// Remove takes out what was added by hand about a subject, and hides what lists say of it, those still to come
// included, until it is added again: an indicator with all that relates it, a network, a *.domain, or a URL. What else
// covers it, such as a network around an address, goes on to say so.
func (e *Edits) Remove(subject intel.Subject, by, note string) error {
	if _, ok := nameOfSubject(&subject); !ok && subject.URL == "" {
		return errNoSubject
	}
	subject = removable(subject)
	for s := range e.added {
		if s.URL != "" && s.URL == subject.URL || subject.URL == "" && withoutURL(s) == subject {
			delete(e.added, s)
		}
	}
	e.removed[subject] = &intel.Statement{By: by, Added: e.now, Note: note}
	return nil
}

// removable returns the subject under which it is kept that s was removed: a URL is one without its host, too.
func removable(s intel.Subject) intel.Subject {
	if s.URL != "" {
		return intel.Subject{URL: s.URL}
	}
	return withoutURL(s)
}

// withoutURL returns the name that s stands under: the indicator, the network or the *.domain.
func withoutURL(s intel.Subject) intel.Subject {
	return intel.Subject{Key: s.Key, Below: s.Below, Net: s.Net}
}

// Allow puts a value on the host's allow list, until it expires, if ever.
func (e *Edits) Allow(value, by, note string, expires time.Time) error {
	if err := new(extract.List).Add(value); err != nil {
		return err
	}
	value = spelled(value)
	e.allowed[value] = permit{value, by, note, e.now, expires}
	return nil
}

// Disallow takes a value off the host's allow list.
func (e *Edits) Disallow(value string) error {
	value = spelled(value)
	if _, ok := e.allowed[value]; !ok {
		return fmt.Errorf("%q is not on the allow list of the store", value)
	}
	delete(e.allowed, value)
	return nil
}

// spelled returns the one spelling of a value of the allow list.
func spelled(value string) string { return strings.ToLower(strings.TrimSpace(value)) }

// Change changes the edits of the store at path, which it makes if there is none. When do errs, nothing has changed.
func Change(path string, do func(*Edits) error) error {
	return change(path, func(old *file, w *fileWriter) error {
		e, err := editsOf(old)
		if err == nil {
			err = do(e)
		}
		if err == nil && old != nil {
			err = old.copyBase(w, path)
		}
		if err != nil {
			return err
		}
		return e.write(w)
	})
}

// copyBase copies what was imported without looking into it.
func (f *file) copyBase(w *fileWriter, path string) error {
	for _, p := range f.parts {
		if p.kind != basePart {
			continue
		}
		from, err := os.Open(path) // the same file: nobody else replaces it now
		if err != nil {
			return err
		}
		defer from.Close()
		return w.copy(p, from)
	}
	return nil
}

// editsOf returns the edits of a file, less what has expired.
func editsOf(f *file) (*Edits, error) {
	e := &Edits{
		time.Now(), make(map[intel.Subject]*intel.Statement), make(map[intel.Subject]*intel.Statement),
		make(map[string]permit),
	}
	if f == nil {
		return e, nil
	}
	for _, edit := range []struct {
		from *segment
		into map[intel.Subject]*intel.Statement
	}{{f.added, e.added}, {f.removed, e.removed}} {
		if edit.from == nil {
			continue
		}
		for entry := range edit.from.entries() {
			edit.into[entry.Subject] = entry.Statement
		}
		if err := edit.from.err(); err != nil {
			return nil, err
		}
	}
	for _, p := range f.allowed {
		if !p.expired(e.now) {
			e.allowed[p.Value] = p
		}
	}
	return e, nil
}

// write writes the edits as parts of a file.
func (e *Edits) write(w *fileWriter) error {
	if err := w.part(addedPart, segmentOfEdits(e.added, false)); err != nil {
		return err
	}
	if err := w.part(removedPart, segmentOfEdits(e.removed, true)); err != nil {
		return err
	}
	return w.part(allowPart, func(out io.Writer) error {
		permits := make([]permit, 0, len(e.allowed))
		for _, p := range e.allowed {
			permits = append(permits, p)
		}
		slices.SortFunc(permits, func(a, b permit) int {
			return cmp.Or(a.Added.Compare(b.Added), cmp.Compare(a.Value, b.Value))
		})
		return json.NewEncoder(out).Encode(permits)
	})
}

// segmentOfEdits returns what writes entries, those of one source after the other.
func segmentOfEdits(entries map[intel.Subject]*intel.Statement, removed bool) func(io.Writer) error {
	return func(out io.Writer) error {
		b := newBuilder("")
		b.removed = removed
		bySource := make(map[string][]intel.Entry)
		for subject, s := range entries {
			bySource[s.Source] = append(bySource[s.Source], intel.Entry{Subject: subject, Statement: s})
		}
		for source, entries := range bySource {
			b.begin(Source{Name: source})
			for _, entry := range entries {
				if err := b.take(entry); err != nil {
					return err
				}
			}
		}
		return merge(out, b, nil)
	}
}

// An EditKind is what somebody did.
type EditKind string

// The kinds of edits.
const (
	Added   EditKind = "added"
	Removed EditKind = "removed"
	Allowed EditKind = "allowed"
)

// An Edit is what somebody did to the store by hand.
type Edit struct {
	Kind  EditKind
	Value string      // as people write it: an indicator, *.domain, a network, a URL, or as it was allowed
	Entry intel.Entry // of what was added or removed; By, Added and Note stand in its statement, too

	By, Note string
	At       time.Time
	Until    time.Time // when it stops to hold; zero for never
}

// Edits returns what was added to the store by hand, removed and allowed, and still holds; the oldest first.
func (s *Store) Edits() (edits []Edit) {
	if s == nil {
		return nil
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer s.catchFault()
	for _, part := range []struct {
		kind EditKind
		of   []*segment
	}{{Added, s.added}, {Removed, s.removed}} {
		for _, seg := range part.of {
			if !seg.usable() {
				continue
			}
			for entry := range seg.entries() {
				edits = append(edits, Edit{
					part.kind, writtenAs(&entry.Subject), entry, entry.By, entry.Note, entry.Added, entry.Expires,
				})
			}
		}
	}
	now := time.Now()
	for _, p := range s.allowed {
		if !p.expired(now) {
			edits = append(edits, Edit{Allowed, p.Value, intel.Entry{}, p.By, p.Note, p.Added, p.Expires})
		}
	}
	slices.SortStableFunc(edits, func(a, b Edit) int { return a.At.Compare(b.At) })
	return edits
}

// Allow returns the host's allow list without what has expired.
func (s *Store) Allow() *extract.List {
	list := new(extract.List)
	if s == nil {
		return list
	}
	now := time.Now()
	for _, p := range s.allowed {
		if !p.expired(now) {
			_ = list.Add(p.Value) // was checked when it was allowed
		}
	}
	return list
}
