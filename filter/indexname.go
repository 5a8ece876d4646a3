package filter

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/valyala/fastjson"
)

// An IndexName is a pattern of names of indices, in the words of Beats and Logstash: %{+yyyy.MM.dd} is the time of the
// event in UTC, %{[event.dataset]} a field of it, %{[event.dataset]:other} with what stands for a missing one, which
// else is "unknown". A name in angle brackets is the server's business, which knows date math.
type IndexName struct {
	parts []namePart
	fixed string // the name, when it is always the same
}

type namePart struct {
	text   string // as it is
	layout string // of the time
	field  string
	other  string // for a missing field
}

// maxIndexName is the longest name of an index that the server takes, in bytes.
const maxIndexName = 255

// dateWords are the words of dates in patterns, and what the time package calls them.
var dateWords = strings.NewReplacer("yyyy", "2006", "yy", "06", "MM", "01", "dd", "02", "HH", "15", "mm", "04", "ss", "05",
	"YYYY", "2006", "uuuu", "2006")

// ParseIndexName reads a pattern. What it says by itself must be good for a name: lower case, and none of \ / * ? " < > |,
// blanks, commas and #.
func ParseIndexName(pattern string) (*IndexName, error) {
	n := new(IndexName)
	if strings.HasPrefix(pattern, "<") && strings.HasSuffix(pattern, ">") {
		n.fixed = pattern
		return n, nil
	}
	for rest := pattern; rest != ""; {
		text, found, more, ok := cutPlaceholder(rest)
		if text != "" {
			if cleanName(text) != text {
				return nil, fmt.Errorf("%q: names of indices are in lower case, without blanks, and have none of \\ / * ? \" < > | , # : in them", text)
			}
			n.parts = append(n.parts, namePart{text: text})
		}
		if rest = more; !ok {
			break
		}
		part, err := parsePlaceholder(found)
		if err != nil {
			return nil, err
		}
		n.parts = append(n.parts, part)
	}
	if len(n.parts) == 0 || strings.ContainsAny(pattern[:1], "-_+.") {
		return nil, fmt.Errorf("%q: the name of an index is not empty, and none of - _ + and . is its first character", pattern)
	}
	if len(n.parts) == 1 && n.parts[0].text != "" {
		n.fixed = n.parts[0].text
	}
	return n, nil
}

// cutPlaceholder cuts s around its first %{…}, of which found is the inside.
func cutPlaceholder(s string) (text, found, rest string, ok bool) {
	text, rest, ok = strings.Cut(s, "%{")
	if ok {
		found, rest, _ = strings.Cut(rest, "}") // without an end it is no good inside
	}
	return text, found, rest, ok
}

func parsePlaceholder(s string) (namePart, error) {
	if date, ok := strings.CutPrefix(s, "+"); ok {
		layout := dateWords.Replace(date)
		if layout == date || strings.ContainsFunc(layout, func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }) {
			return namePart{}, fmt.Errorf("%%{+%s}: dates are made of yyyy, MM, dd, HH, mm and ss", date)
		}
		return namePart{layout: layout}, nil
	}
	field, other, _ := strings.Cut(s, "]:")
	field = strings.TrimSuffix(field, "]")
	field, ok := strings.CutPrefix(field, "[")
	if !ok || field == "" {
		return namePart{}, errors.New("%{" + s + "}: neither a date, such as %{+yyyy.MM.dd}, nor a field, such as %{[event.dataset]}")
	}
	return namePart{field: strings.ReplaceAll(field, "][", "."), other: other}, nil
}

// Name returns the name for an event of a time. v is nil for a text line, which has no fields.
func (n *IndexName) Name(v *fastjson.Value, when time.Time) string {
	if n.fixed != "" {
		return n.fixed
	}
	var name strings.Builder
	for _, p := range n.parts {
		switch {
		case p.field != "":
			name.WriteString(p.value(v))
		case p.layout != "":
			name.WriteString(when.UTC().Format(p.layout))
		default:
			name.WriteString(p.text)
		}
	}
	return cmp.Or(strings.TrimLeft(name.String()[:min(name.Len(), maxIndexName)], "-_+."), "unknown")
}

// value returns the field's value as it can stand in a name. What an event says must not lead anywhere else.
func (p *namePart) value(v *fastjson.Value) string {
	var text string
	if v != nil {
		if found := fieldOf(v, p.field); found != nil {
			switch found.Type() {
			case fastjson.TypeString:
				text = string(found.GetStringBytes())
			case fastjson.TypeNumber, fastjson.TypeTrue, fastjson.TypeFalse:
				text = found.String()
			}
		}
	}
	if text = cleanName(text); text != "" {
		return text
	}
	if p.other != "" {
		return p.other
	}
	return "unknown"
}

// cleanName returns s in lower case, with _ for what the server refuses in a name.
func cleanName(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`\/*?"<>|,#:`, r) {
			return '_'
		}
		return r
	}, strings.ToLower(strings.ToValidUTF8(s, "_")))
}
