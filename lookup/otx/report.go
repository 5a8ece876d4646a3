package otx

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

const (
	// maxIndicators is how many indicators a pulse may hold to say something about each: there are dumps of
	// hundreds of thousands.
	maxIndicators = 10_000

	maxPulses     = 10_000 // of one answer; the API was seen to give 50
	maxReferences = 100    // of one report
	maxTags       = 50
	maxText       = 1024 // bytes of a reference or a tag; a longer one is left out
)

// webURL is where people read about what the API answers.
const webURL = "https://otx.alienvault.com"

// An answer is the part of a general answer that is used.
type answer struct {
	Indicator string `json:"indicator"`
	PulseInfo *struct {
		Count  *int              `json:"count"`
		Pulses []json.RawMessage `json:"pulses"`
	} `json:"pulse_info"`
	Validation []struct {
		Source string `json:"source"`
		Name   string `json:"name"`
	} `json:"validation"`
	FalsePositive []struct {
		Assessment string `json:"assessment"`
	} `json:"false_positive"`

	pulses []pulse // of PulseInfo, those that say something about each of their indicators
}

// A pulse is what one member has published.
type pulse struct {
	ID     string `json:"id"`
	Author struct {
		Username string `json:"username"`
	} `json:"author"`
	TLP        string `json:"TLP"` // "tlp" in exports, which the decoder takes for the same
	Indicators int    `json:"indicator_count"`
	Created    string `json:"created"`
	Modified   string `json:"modified"`
	Adversary  string `json:"adversary"`
	Families   names  `json:"malware_families"`
	References names  `json:"references"`
}

// names is a list of texts, or of objects with a display_name. It is empty for what is no list, and passes over what is
// neither: nothing is decided by it.
type names []string

// UnmarshalJSON reads a list.
func (n *names) UnmarshalJSON(data []byte) error {
	var items []json.RawMessage
	if json.Unmarshal(data, &items) != nil {
		return nil
	}
	for _, item := range items {
		var text string
		var object struct {
			Name string `json:"display_name"`
		}
		if json.Unmarshal(item, &text) == nil || json.Unmarshal(item, &object) == nil {
			*n = append(*n, text+object.Name)
		}
	}
	return nil
}

// parse reads the answer about key. The whole of body must be one JSON object that is about it. Errors name the field
// and quote nothing.
func parse(body []byte, key extract.Key, threshold int) (intel.Report, error) {
	a, err := decode(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\ufeff")))
	if err != nil {
		return intel.Report{}, err
	}
	if about, _ := extract.ParseKey(a.Indicator); about != key && !strings.EqualFold(a.Indicator, key.Value) {
		return intel.Report{}, errors.New("indicator is not the one that was asked about")
	}
	if !a.mentioned() && len(a.Validation) == 0 && len(a.FalsePositive) == 0 {
		return intel.Report{}, nil
	}
	report := intel.Report{Known: true, Permalink: permalink(key)}
	report.Votes, report.Voted = a.vote(threshold)
	a.describe(&report)
	return report, nil
}

func decode(body []byte) (*answer, error) {
	a := new(answer)
	if err := json.Unmarshal(body, a); err != nil {
		var field *json.UnmarshalTypeError
		if errors.As(err, &field) && field.Field != "" {
			return nil, fmt.Errorf("%s is of the wrong type", field.Field)
		}
		return nil, errors.New("body is empty, cut off, or not one JSON object") // the error may quote the body
	}
	if a.PulseInfo == nil || a.PulseInfo.Count == nil || *a.PulseInfo.Count < 0 {
		return nil, errors.New("pulse_info.count is missing, or below 0")
	}
	return a, a.readPulses()
}

// readPulses reads the pulses that say something about each of their indicators, each once.
func (a *answer) readPulses() error {
	if len(a.PulseInfo.Pulses) > maxPulses {
		return fmt.Errorf("pulse_info.pulses holds more than %d", maxPulses)
	}
	seen := make(map[string]bool)
	for _, raw := range a.PulseInfo.Pulses {
		var p pulse
		if json.Unmarshal(raw, &p) != nil || p.ID == "" {
			return errors.New("pulse_info.pulses holds what is no pulse")
		}
		if p.Indicators <= maxIndicators && !seen[p.ID] {
			seen[p.ID] = true
			a.pulses = append(a.pulses, p)
		}
	}
	return nil
}

// mentioned reports whether any pulse names the indicator.
func (a *answer) mentioned() bool { return *a.PulseInfo.Count > 0 || len(a.PulseInfo.Pulses) > 0 }

// vote judges by what the clients of OTX agree on. A pulse proves mention, not malice: so it takes several, or one of
// AlienVault's own, and none counts against an accepted false positive. An entry in validation is by itself no
// whitelist: it may say that an address is Amazon's, or that it looks odd.
func (a *answer) vote(threshold int) (votes int8, voted bool) {
	switch {
	case a.harmless():
		return 1, true
	case !a.mentioned():
		return 0, false
	case len(a.pulses) >= threshold && len(a.Validation) == 0, slices.ContainsFunc(a.pulses, pulse.official):
		return -1, true
	}
	return 0, true
}

// harmless reports whether OTX itself says that there is nothing in it.
func (a *answer) harmless() bool {
	for _, f := range a.FalsePositive {
		if f.Assessment == "accepted" {
			return true
		}
	}
	for _, v := range a.Validation {
		if v.Source == "whitelist" || v.Source == "false_positive" {
			return true
		}
	}
	return false
}

// official reports whether AlienVault itself published p.
func (p pulse) official() bool { return p.Author.Username == "AlienVault" }

// confidential reports whether what p says is not for everybody who reads the events (TLP red, amber and amber+strict).
func (p pulse) confidential() bool {
	tlp := strings.ToLower(p.TLP)
	return strings.Contains(tlp, "red") || strings.Contains(tlp, "amber")
}

// describe adds what may be passed on of the pulses, and the notes of validation. The lists that join all pulses
// (pulse_info.references, pulse_info.related) are not used: what of them is confidential cannot be told.
func (a *answer) describe(r *intel.Report) {
	for _, p := range a.pulses {
		if p.confidential() {
			continue
		}
		r.References = add(r.References, maxReferences, append(names{p.page()}, p.References...)...)
		r.Tags = add(r.Tags, maxTags, append(p.Families, p.Adversary)...)
		if t := moment(p.Created); !t.IsZero() && (r.First.IsZero() || t.Before(r.First)) {
			r.First = t
		}
		if t := moment(p.Modified); t.After(r.Last) {
			r.Last = t
		}
	}
	for _, v := range a.Validation {
		r.Tags = add(r.Tags, maxTags, v.Name)
	}
}

// page returns the address of p for people, or "" when its id is none.
func (p pulse) page() string {
	const hex = "0123456789abcdef"
	if len(p.ID) != 24 || strings.Trim(p.ID, hex) != "" {
		return ""
	}
	return webURL + "/pulse/" + p.ID
}

// permalink returns the page for people about key.
func permalink(key extract.Key) string {
	kind := section(key)
	if key.Type == extract.IP {
		kind = "ip"
	}
	return webURL + "/indicator/" + kind + "/" + url.PathEscape(key.Value)
}

// add appends those of values to list that are new, neither blank nor a placeholder nor too long, up to limit in all.
func add(list []string, limit int, values ...string) []string {
	for _, value := range values {
		value = strings.TrimSpace(value)
		if len(list) < limit && value != "" && value != "-" && len(value) <= maxText && !slices.Contains(list, value) {
			list = append(list, value)
		}
	}
	return list
}

// moment reads a time, which OTX writes without a zone and means as UTC, to the second. It is zero for nonsense.
func moment(text string) time.Time {
	t, err := time.Parse("2006-01-02T15:04:05", strings.TrimSuffix(text, "Z"))
	if err != nil || t.Unix() <= 0 {
		return time.Time{}
	}
	return t.Truncate(time.Second)
}
