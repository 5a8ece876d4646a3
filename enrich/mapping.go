package enrich

import (
	"maps"
	"slices"
	"strings"
)

// A mapping is that of an index, as far as it matters.
type mapping struct {
	property
	Source struct {
		Enabled *bool  `json:"enabled"`
		Mode    string `json:"mode"`
	} `json:"_source"`
}

// A property is a field of a mapping, or an object of them.
type property struct {
	Type       string              `json:"type"`
	Dynamic    any                 `json:"dynamic"` // a word or a boolean
	Enabled    *bool               `json:"enabled"`
	DocValues  *bool               `json:"doc_values"`
	Above      int                 `json:"ignore_above"`
	Properties map[string]property `json:"properties"`
	Fields     map[string]property `json:"fields"`
}

// at returns the property at a path.
func (p property) at(path ...string) (found property, ok bool) {
	for _, name := range path {
		if p, ok = p.Properties[name]; !ok {
			return property{}, false
		}
	}
	return p, ok
}

func (p property) holds(path ...string) bool {
	_, ok := p.at(path...)
	return ok
}

// enrichments returns what threat.enrichments is mapped as.
func (p property) enrichments() (kind string, mapped bool) {
	field, mapped := p.at("threat", "enrichments")
	if mapped && field.Type == "" {
		field.Type = "object"
	}
	return field.Type, mapped
}

func (p property) isTimed() bool {
	field, _ := p.at("@timestamp")
	return field.Type == "date" || field.Type == "date_nanos"
}

func (p property) isStrict() bool { return p.Dynamic == "strict" }

// mapsAll reports whether all that comes in gets mapped, so that the mapping tells what fields there are.
func (p property) mapsAll() bool {
	return (p.Dynamic == nil || p.Dynamic == true || p.Dynamic == "true" || p.Dynamic == "strict") && (p.Enabled == nil || *p.Enabled)
}

// freeText are fields of long texts: most of their values occur once, so that counting them is dearer than reading them.
var freeText = []string{"message", "event.original", "log.original", "error.message"}

// lookedInto returns the fields that the options name. scanned says that documents have to be read to find the values of
// some: long texts, fields in nested documents, and what the mapping does not tell of.
func (m mapping) lookedInto(o *Options) (fields []field, scanned bool) {
	var walk func(prefix string, p property, nested bool)
	walk = func(prefix string, p property, nested bool) {
		for name, child := range p.Properties {
			full := prefix + name
			switch {
			case child.isText() && o.Scanner.Fields.Has(full):
				f := child.field(full)
				if nested || slices.Contains(freeText, full) {
					f.terms = ""
				}
				scanned = scanned || f.terms == ""
				fields = append(fields, f)
			case child.isText(), child.Type != "" && child.Type != "object" && child.Type != "nested" && child.Type != "flattened":
			case child.Type == "flattened" || !child.mapsAll():
				scanned = scanned || o.mayLookInto(full)
			}
			walk(full+".", child, nested || child.Type == "nested")
		}
	}
	walk("", m.property, false)
	slices.SortFunc(fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return fields, scanned || !m.mapsAll() && (len(o.Fields) == 0 || len(fields) < len(o.Fields))
}

// mayLookInto reports whether some field under an object is looked into.
func (o *Options) mayLookInto(object string) bool {
	return o.Scanner.Fields.Has(object) ||
		slices.ContainsFunc(o.Fields, func(f string) bool { return strings.HasPrefix(f, object+".") })
}

// isText reports whether the values of p are texts, in which indicators may be.
func (p property) isText() bool {
	switch p.Type {
	case "keyword", "constant_keyword", "wildcard", "ip", "text", "match_only_text", "search_as_you_type", "annotated_text":
		return true
	}
	return false
}

// field returns p, whose name is given, with the field by which its values can be counted: itself, or a keyword beside it.
func (p property) field(name string) field {
	if p.countable() {
		return field{name, name, p.Above}
	}
	for _, sub := range slices.Sorted(maps.Keys(p.Fields)) {
		if beside := p.Fields[sub]; beside.countable() {
			return field{name, name + "." + sub, beside.Above}
		}
	}
	return field{name: name}
}

func (p property) countable() bool {
	switch p.Type {
	case "keyword", "constant_keyword", "wildcard", "ip":
		return p.DocValues == nil || *p.DocValues
	}
	return false
}
