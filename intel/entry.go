package intel

import (
	"errors"
	"net/netip"
	"time"

	"github.com/valyala/fastjson"

	"iocpipe/extract"
)

// An Entry is one line of a list of intelligence: what it is about, and what the source says of it.
type Entry struct {
	Subject
	*Statement // entries may share one: it is not changed once an entry holds it
}

// A Subject is what an entry is about, and how much it covers.
type Subject struct {
	Key   extract.Key  // the indicator; of a URL its host; zero for a network
	Below bool         // as *.domain: all names below the domain Key, and not the domain itself
	Net   netip.Prefix // a network, masked; the zero Prefix for anything else
	URL   string       // the URL as it was listed, refanged, when the entry is one

	// Via and Relation are set when the source does not call Key malicious itself, but names it together with
	// something that is: an indicator, or a publication by its title or address (then Via has no Type).
	Via      extract.Key
	Relation string // one of the By constants
}

// Covers returns s as far as it says what is covered, and not why.
func (s Subject) Covers() Subject { return Subject{Key: s.Key, Below: s.Below, Net: s.Net, URL: s.URL} }

// A Statement is what one source says of what it lists.
type Statement struct {
	Source  string // the name of the feed, file or person's list
	Report  Report
	Expires time.Time // when it stops to hold; zero for never

	// Who added it by hand, when and why; empty for what came from a list.
	By    string
	Added time.Time
	Note  string
}

// Expired reports whether s holds no more at now.
func (s *Statement) Expired(now time.Time) bool { return !s.Expires.IsZero() && !now.Before(s.Expires) }

// AppendStatement appends s, without its source, as a JSON object: the fields of a report line that hold something,
// then expires, by, added and note. [ParseStatement] reads it.
func AppendStatement(dst []byte, s *Statement) []byte {
	r := &s.Report
	dst = append(dst, `{"response_code":`...)
	if r.Known {
		dst = append(dst, `"1"`...)
	} else {
		dst = append(dst, `"0"`...)
	}
	dst = appendField(dst, "md5", r.MD5)
	dst = appendField(dst, "sha1", r.SHA1)
	if len(r.Resolutions) > 0 {
		dst = appendResolutions(dst, r.Resolutions)
	}
	for _, list := range v2Lists {
		if values := *list.of(r); len(values) > 0 {
			dst = appendList(dst, list.name, values)
		}
	}
	dst = appendVerdict(dst, r)
	dst = appendMoment(dst, "expires", s.Expires)
	dst = appendField(dst, "by", s.By)
	dst = appendMoment(dst, "added", s.Added)
	dst = appendField(dst, "note", s.Note)
	return append(dst, '}')
}

// ParseStatement reads what [AppendStatement] wrote; the statement shares no memory with data.
func ParseStatement(data []byte) (s Statement, err error) {
	err = withObject(data, func(v *fastjson.Value) error {
		s, err = readStatement(v)
		return err
	})
	return s, err
}

func readStatement(v *fastjson.Value) (s Statement, err error) {
	if s.Report, err = readReport(v); err != nil {
		return Statement{}, err
	}
	expires := text(v.Get("expires"))
	if s.Expires = moment(expires); expires != "" && s.Expires.IsZero() {
		return Statement{}, errors.New("expires is no time, such as 2026-12-31 or 2026-12-31T00:00:00Z")
	}
	s.By, s.Added, s.Note = text(v.Get("by")), moment(text(v.Get("added"))), text(v.Get("note"))
	return s, nil
}

// ParseEntryLine is [ParseReportLine] for lists of intelligence: what the line is about may be all that [AppendEntry]
// writes, and it may also say when it expires, why it is there (expires, by, added, note), and what source said so,
// which is empty when it does not.
func ParseEntryLine(data []byte) (e Entry, err error) {
	err = withObject(data, func(v *fastjson.Value) error {
		if e.Subject, err = lineSubject(v); err != nil {
			return err
		}
		s, err := readStatement(v)
		s.Source = text(v.Get("source"))
		e.Statement = &s
		return err
	})
	if err != nil {
		return Entry{}, err
	}
	return e, nil
}
