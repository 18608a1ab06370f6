package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/vault"
	"agentvault/vault/catalog"
)

const schemaPrefix = "#/components/schemas/"

// newDocument describes the table as OpenAPI 3.1. The schemas are huma's, made
// from the very types that the handlers take and return.
func newDocument(table []section) ([]byte, error) {
	schemas := huma.NewMapRegistry(schemaPrefix, schemaName)
	schemas.RegisterTypeAlias(reflect.TypeFor[vault.Service](), reflect.TypeFor[serviceSchema]())
	schemas.RegisterTypeAlias(reflect.TypeFor[inject.Auth](), reflect.TypeFor[authSchema]())
	schemas.RegisterTypeAlias(reflect.TypeFor[policy.Action](), reflect.TypeFor[actionSchema]())
	schemas.RegisterTypeAlias(reflect.TypeFor[vault.ServiceChange](), reflect.TypeFor[serviceChangeSchema]())
	schemas.RegisterTypeAlias(reflect.TypeFor[vault.ServiceDiff](), reflect.TypeFor[serviceDiffSchema]())
	schemas.RegisterTypeAlias(reflect.TypeFor[PolicyVerdict](), reflect.TypeFor[policyVerdictSchema]())
	schemas.RegisterTypeAlias(reflect.TypeFor[errorBody](), reflect.TypeFor[refusalSchema]())
	d := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "Agent Vault", Version: "1",
			Description: "The control plane: what people's tools and agents ask of the server itself. Requests to other hosts go through the two entrances, which are not described here.",
		},
		Servers: []*huma.Server{{URL: "/"}},
		Components: &huma.Components{
			Schemas: schemas,
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"token": {Type: "http", Scheme: "bearer", Description: "The token of a person's sign-in (av_login_…), of an agent (av_agt_…) or of a session (av_sess_…)."},
				"lease": {Type: "http", Scheme: "bearer", Description: "The token of a session's lease (av_lease_…), which does nothing but renew it."},
			},
			Responses: refusals(schemas),
		},
	}
	for _, part := range table {
		if part.about != "" {
			d.Tags = append(d.Tags, &huma.Tag{Name: part.tag, Description: part.about})
		}
		for _, r := range part.routes {
			d.AddOperation(operation(r, part.tag, schemas))
		}
	}
	trim(d)
	compact, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("api: the OpenAPI document: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, compact, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// schemaName names a type's schema. The types below stand for others.
func schemaName(t reflect.Type, hint string) string {
	name := strings.TrimSuffix(huma.DefaultSchemaNamer(t, hint), "Schema")
	if t.PkgPath() == reflect.TypeFor[catalog.Entry]().PkgPath() {
		return "Catalog" + name
	}
	return name
}

// refusals are the answers that routes share.
func refusals(schemas huma.Registry) map[string]*huma.Response {
	body := map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(reflect.TypeFor[errorBody](), true, "")}}
	text := &huma.Schema{Type: huma.TypeString}
	response := func(what string, headers map[string]*huma.Param) *huma.Response {
		all := map[string]*huma.Param{ErrorHeader: {Description: "Always true: the vault itself refuses.", Schema: text}}
		maps.Copy(all, headers)
		return &huma.Response{Description: what, Headers: all, Content: body}
	}
	later := map[string]*huma.Param{"Retry-After": {Description: "When to try again, in seconds.", Schema: &huma.Schema{Type: huma.TypeInteger}}}
	return map[string]*huma.Response{
		"Refused":      response("The request is refused, and changed nothing; the message says why.", nil),
		"Unauthorized": response("The token is missing, unknown, expired or revoked.", nil),
		"TooLong":      response("The body is too long.", nil),
		"TooMany":      response("Too many sign-ins from this address, or too much is pending.", later),
		"Failed":       response("The server cannot answer; 503 says when to try again.", later),
	}
}

var audiences = map[access]string{
	signedIn: "For anyone with a token.", person: "For people.", agent: "For agents.",
	lease: "For who minted a session with a lease.", public: "Needs no token.",
}

func operation(r route, tag string, schemas huma.Registry) *huma.Operation {
	op := &huma.Operation{
		OperationID: r.id, Method: r.method, Path: r.path, Tags: []string{tag},
		Summary: r.summary, Description: audiences[r.access],
		Security: []map[string][]string{}, // none
		Responses: map[string]*huma.Response{
			strconv.Itoa(r.status): {Description: http.StatusText(r.status), Content: map[string]*huma.MediaType{r.media: answer(r, schemas)}},
			"4XX":                  refusal("Refused"), "5XX": refusal("Failed"),
		},
	}
	if r.access != public {
		scheme := "token"
		if r.access == lease {
			scheme = "lease"
		}
		op.Security = []map[string][]string{{scheme: {}}}
		op.Responses["401"] = refusal("Unauthorized")
	}
	if r.orJSON != nil {
		op.Responses[strconv.Itoa(r.status)].Content["application/json"] = &huma.MediaType{Schema: schemas.Schema(r.orJSON, true, "")}
	}
	if r.widens {
		op.Description += "\nIt may ask for the password again: 403 login_too_old."
	}
	if r.slowed || r.bounded {
		op.Responses["429"] = refusal("TooMany")
	}
	for _, p := range r.shape.params {
		schema := huma.SchemaFromField(schemas, p.field, "")
		about := schema.Description
		schema.Description = ""
		op.Parameters = append(op.Parameters, &huma.Param{Name: p.name, In: p.in, Required: p.required, Description: about, Schema: schema})
	}
	if r.shape.reads != nil {
		op.Responses["413"] = refusal("TooLong")
		op.RequestBody = &huma.RequestBody{
			Required:    true,
			Description: fmt.Sprintf("At most %d bytes.", r.maxBody),
			Content:     map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(r.shape.reads, true, "")}},
			Extensions:  map[string]any{"x-max-bytes": r.maxBody},
		}
	}
	return op
}

func refusal(name string) *huma.Response {
	return &huma.Response{Ref: "#/components/responses/" + name}
}

func answer(r route, schemas huma.Registry) *huma.MediaType {
	if r.out == nil {
		return &huma.MediaType{}
	}
	return &huma.MediaType{Schema: schemas.Schema(r.out, true, "")}
}

// trim takes from the schemas what huma assumes and this server does not do:
// lists are never null, and answers may gain fields.
func trim(d *huma.OpenAPI) {
	all := d.Components.Schemas
	taken := make(map[string]bool) // names of schemas that bodies of requests use
	for _, item := range d.Paths {
		for _, op := range []*huma.Operation{item.Post, item.Put, item.Patch} {
			if op != nil && op.RequestBody != nil {
				collect(all, op.RequestBody.Content["application/json"].Schema, taken)
			}
		}
	}
	for name, s := range all.Map() {
		if !taken[name] {
			s.AdditionalProperties = nil
		}
		for _, p := range s.Properties {
			if p.Type == huma.TypeArray {
				p.Nullable = false
			}
		}
	}
}

// collect notes the names of all schemas that s refers to.
func collect(all huma.Registry, s *huma.Schema, taken map[string]bool) {
	if s == nil {
		return
	}
	if s.Ref != "" {
		name := s.Ref[len(schemaPrefix):]
		if taken[name] {
			return
		}
		taken[name] = true
		s = all.SchemaFromRef(s.Ref)
	}
	for _, p := range s.Properties {
		collect(all, p, taken)
	}
	collect(all, s.Items, taken)
	for _, one := range s.OneOf {
		collect(all, one, taken)
	}
	if values, ok := s.AdditionalProperties.(*huma.Schema); ok {
		collect(all, values, taken)
	}
}

// serviceSchema is vault.Service, which may leave enabled out.
type serviceSchema vault.Service

// TransformSchema implements huma.SchemaTransformer.
func (serviceSchema) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = slices.DeleteFunc(s.Required, func(name string) bool { return name == "enabled" })
	s.Properties["enabled"].Default = true
	describeProperty(s, "scheme", "http or https; https when left out.")
	describeProperty(s, "name", serviceNames)
	describeProperty(s, "host", hostPatterns)
	describeProperty(s, "rules", "The first that matches decides; none that matches denies. Everything on the host is allowed when left out.")
	describeProperty(s, "scrub", "on or off; on when left out. Whether answers are searched for credentials.")
	describeProperty(s, "undecodable", "refuse or pass; refuse when left out. What becomes of answers that cannot be searched.")
	describeProperty(s, "pins", "Of public keys: sha256/ and the base64 of the SHA-256 of a SubjectPublicKeyInfo. The upstream's chain must hold one of them. Any chain to a root will do when left out.")
	describeProperty(s, "upgrades", "Protocols that a request may switch to, besides websocket, as in spdy/3.1. What comes back in one is not searched for credentials.")
	describeProperty(s, "expires_at", "When the service ends: then it is as if it were not there. Never when left out.")
	return s
}

const (
	serviceNames = "3 to 64 characters of a-z, 0-9 and -."
	hostPatterns = "A host, *.host or host:port, or any of them with /path/* behind it."
)

func describeProperty(s *huma.Schema, property, what string) {
	s.Properties[property].Description = what
}

// serviceChangeSchema is vault.ServiceChange, which may leave its name out.
type serviceChangeSchema vault.ServiceChange

// TransformSchema implements huma.SchemaTransformer.
func (serviceChangeSchema) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = slices.DeleteFunc(s.Required, func(name string) bool { return name == "name" })
	s.Properties["action"].Enum = []any{vault.ActionSet, vault.ActionDelete}
	s.Properties["enabled"].Default = true
	describeProperty(s, "name", serviceNames+" It may be left out when the host says which service is meant.")
	describeProperty(s, "host", hostPatterns)
	return s
}

// serviceDiffSchema is vault.ServiceDiff.
type serviceDiffSchema vault.ServiceDiff

// TransformSchema implements huma.SchemaTransformer.
func (serviceDiffSchema) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	orNull(s, "before", "Null: it is new.")
	orNull(s, "after", "Null: it goes.")
	return s
}

// policyVerdictSchema is PolicyVerdict.
type policyVerdictSchema PolicyVerdict

// TransformSchema implements huma.SchemaTransformer.
func (policyVerdictSchema) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	orNull(s, "rule", "Null: no rule decided.")
	return s
}

// orNull lets a property be null where huma takes a reference for a value.
func orNull(s *huma.Schema, property, about string) {
	s.Properties[property] = &huma.Schema{Description: about, OneOf: []*huma.Schema{s.Properties[property], {Type: "null"}}}
}

// authSchema stands for inject.Auth, whose fields depend on its type.
type authSchema struct{}

// Schema implements huma.SchemaProvider.
func (authSchema) Schema(huma.Registry) *huma.Schema {
	kinds := &huma.Schema{Type: huma.TypeString}
	for _, kind := range inject.Types() {
		kinds.Enum = append(kinds.Enum, kind)
	}
	return &huma.Schema{
		Type: huma.TypeObject, Description: "How requests are authenticated. Its other fields are its type's, and name credentials, never values.",
		Properties: map[string]*huma.Schema{"type": kinds}, Required: []string{"type"}, AdditionalProperties: true,
	}
}

// actionSchema stands for policy.Action.
type actionSchema string

// Schema implements huma.SchemaProvider.
func (actionSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Enum: []any{string(policy.ActionAllow), string(policy.ActionDeny), string(policy.ActionAsk)}, Default: string(policy.ActionAllow)}
}

// refusalSchema is errorBody with the codes there are.
type refusalSchema errorBody

// TransformSchema implements huma.SchemaTransformer.
func (refusalSchema) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	for _, code := range slices.Sorted(maps.Keys(statuses)) {
		s.Properties["error"].Enum = append(s.Properties["error"].Enum, code)
	}
	return s
}
