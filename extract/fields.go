package extract

import "strings"

// Fields says which fields of JSON events are looked into. Names are dotted; a name covers what is under it, and * is
// any run of characters within one part. The zero Fields looks into all.
type Fields struct {
	only, ignore []fieldPattern
	original     bool // event.original is ignored beside a message
}

// A fieldPattern is the name of a field and of what stands under it.
type fieldPattern struct {
	name    string
	starred bool // a * in it stands for any run of characters within one part
}

// DefaultIgnored are the fields that the filter does not look into: what describes the sensor or was written by an
// enrichment, this one's included.
var DefaultIgnored = []string{"threat", "iocpipe", "related", "agent", "observer", "ecs"}

// NewFields returns the fields that only covers, or all if it is empty, without those that ignore covers. A name may
// end in ".*", which changes nothing. original says that event.original is ignored beside a member message.
func NewFields(only, ignore []string, original bool) Fields {
	return Fields{fieldPatterns(only), fieldPatterns(ignore), original}
}

func fieldPatterns(names []string) []fieldPattern {
	var out []fieldPattern
	for _, name := range names {
		if name = strings.TrimSuffix(strings.TrimSpace(name), ".*"); name != "" {
			out = append(out, fieldPattern{name, strings.Contains(name, "*")})
		}
	}
	return out
}

func (f Fields) skipsOriginal() bool { return f.original }

func (f Fields) all() bool { return len(f.only) == 0 && len(f.ignore) == 0 }

// has reports whether the field is looked into.
func (f Fields) has(field string) bool {
	return (len(f.only) == 0 || covered(f.only, field)) && !covered(f.ignore, field)
}

func covered(patterns []fieldPattern, field string) bool {
	for _, p := range patterns {
		if under, ok := strings.CutPrefix(field, p.name); ok && (under == "" || under[0] == '.') {
			return true
		}
		if p.starred && covers(p.name, field) {
			return true
		}
	}
	return false
}

// covers reports whether the pattern matches the field's name or that of something it stands under.
func covers(pattern, field string) bool {
	for {
		p, morePattern, pOK := strings.Cut(pattern, ".")
		f, moreField, fOK := strings.Cut(field, ".")
		if !matchPart(p, f) {
			return false
		}
		if !pOK {
			return true
		}
		if !fOK {
			return false
		}
		pattern, field = morePattern, moreField
	}
}

// matchPart matches one part of a name; it goes back to the last star only, so that its time is bounded by the product
// of the lengths.
func matchPart(pattern, part string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(part) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == part[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// wantField reports whether the string at hand is looked into; a text line always is.
func (s *Scanner) wantField() bool {
	f := s.field
	if f == nil {
		return true
	}
	if f.wanted == unknown {
		f.wanted = answerOf(s.Fields.all() || s.Fields.has(f.dotted()))
	}
	return f.wanted == yes
}

// context returns the path of the JSON string at hand, that of a string of the JSON inside it included: it tells what
// a value is.
func (s *Scanner) context() string {
	if s.names == nil {
		return ""
	}
	return s.names.dotted()
}

// Has reports whether the field of that name is looked into.
func (f Fields) Has(field string) bool { return f.all() || f.has(field) }
