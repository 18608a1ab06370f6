package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

// createFlags describe a proposal of one service.
type createFlags struct {
	serviceFlags
	file                         fileFlag
	obtain, message, userMessage string
	wait                         time.Duration
}

func proposalCreateCommand() *cobra.Command {
	var vaultName string
	var f createFlags
	var o output
	c := &cobra.Command{
		Use:   "create",
		Short: "Ask for services and credentials",
		Long: `Ask for a service, or, with -f, for whatever a file (YAML or JSON) says in the
shape that POST /v1/proposals takes. A person decides: give them the link that is
printed, which shows it to them for a day. Credentials that a service refers to
need no value here; the person gives it.

With an agent's token in AGENT_VAULT_SESSION_TOKEN no login is needed. With
--wait, the exit status is 0 when the proposal was applied and 1 otherwise.`,
		Example: `  agent-vault proposal create --host api.stripe.com --auth bearer --key STRIPE_KEY --obtain https://dashboard.stripe.com/apikeys --user-message 'To refund order 17'
  agent-vault proposal create --host api.example.com --auth passthrough --wait 10m
  agent-vault proposal create -f proposal.yaml -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			std := stdioOf(c)
			if f.wait < 0 || f.wait == 0 && c.Flags().Changed("wait") {
				return misused(c, "--wait is how long to wait, as in 10m")
			}
			request, err := f.request(c, std.in)
			if err != nil {
				return err
			}
			name := vaultOrDefault(vaultName)
			made, err := byAsker(c, func(client *api.Client) (api.ProposalCreated, error) {
				return client.Propose(c.Context(), name, request)
			})
			if err != nil {
				return tooManyPending(err, name)
			}
			return f.finish(c, made, &o)
		},
	}
	addVault(c, &vaultName)
	f.serviceFlags.add(c)
	f.file.add(c, "proposal (YAML or JSON) instead of flags")
	c.Flags().StringVar(&f.obtain, "obtain", "", "URL of the page where a person gets the credential")
	c.Flags().StringVar(&f.message, "message", "", "what it is for, for developers")
	c.Flags().StringVar(&f.userMessage, "user-message", "", "what it is for, for the person who decides")
	c.Flags().DurationVar(&f.wait, "wait", 0, "wait so long for the decision")
	o.add(c)
	return c
}

// finish prints what was made, and waits for the decision where that is wanted.
func (f *createFlags) finish(c *cobra.Command, made api.ProposalCreated, o *output) error {
	switch {
	case f.wait == 0:
		return o.print(c.OutOrStdout(), made, func(w io.Writer) { printCreated(w, made) })
	case *o == "table":
		printCreated(c.OutOrStdout(), made)
	default: // standard output is for one document
		printCreated(c.ErrOrStderr(), made)
	}
	return awaitDecision(c, made.Vault, made.ID, f.wait, o)
}

func printCreated(w io.Writer, made api.ProposalCreated) {
	fmt.Fprintf(w, "proposal %d in the vault %s is %s; this link shows it, for a day:\n%s\n", made.ID, plain(made.Vault), plain(made.Status), plain(made.ApprovalURL))
	fmt.Fprintf(w, "a person decides it with: agent-vault proposal review %d --vault %s\n", made.ID, plain(made.Vault))
}

// tooManyPending hints at what makes room for a proposal: a person's decisions.
func tooManyPending(err error, vaultName string) error {
	if !isCode(err, vault.CodeTooManyProposals) {
		return err
	}
	if _, token := agentToken(); token != "" {
		return hint(err, "wait until a person has decided some of them")
	}
	return hint(err, "decide some of them first: agent-vault proposal review --vault %s", vaultName)
}

// request is the file's proposal, or the one that the flags describe.
func (f *createFlags) request(c *cobra.Command, stdin io.Reader) (r api.ProposalRequest, err error) {
	if f.file != "" {
		if name := f.changed(c); name != "" {
			return r, misused(c, "--%s and -f exclude each other", name)
		}
		if r, err = readParsed(string(f.file), stdin, parseProposal); err != nil {
			return r, err
		}
	} else if r, err = f.oneService(c); err != nil {
		return r, err
	}
	for flag, into := range map[string]*string{"message": &r.Message, "user-message": &r.UserMessage} {
		if c.Flags().Changed(flag) {
			*into = c.Flags().Lookup(flag).Value.String()
		}
	}
	return r, nil
}

// oneService proposes a service, and a slot for each key that it refers to. The
// vault keeps the value of one that exists.
func (f *createFlags) oneService(c *cobra.Command) (r api.ProposalRequest, err error) {
	if f.scheme != "" && f.scheme != "https" {
		return r, misused(c, "--scheme: only a person can add a service over %s", plain(f.scheme))
	}
	s, err := f.service(c)
	if err != nil {
		return r, err
	}
	r.Services = []vault.ServiceChange{{Action: vault.ActionSet, Name: f.name, Host: s.Host, Description: s.Description, Auth: &s.Auth, Rules: s.Rules}}
	keys := s.Keys()
	if f.obtain != "" && len(keys) == 0 {
		return r, misused(c, "--obtain: the service has no credential")
	}
	for _, key := range keys {
		r.Credentials = append(r.Credentials, api.ProposedCredential{Action: vault.ActionSet, Key: key, Obtain: f.obtain})
	}
	return r, nil
}

func parseProposal(raw []byte) (r api.ProposalRequest, err error) {
	document, asJSON, err := readDocument(raw)
	if err != nil {
		return r, err
	}
	m, ok := document.(map[string]any)
	if !ok {
		return r, errors.New("it must be a map with services, credentials or both")
	}
	if err := onlyFields(m, "", "services", "credentials", "message", "user_message"); err != nil {
		return r, err
	}
	services, _ := m["services"].([]any) // another type is refused with the rest
	for _, service := range services {
		spelled, err := json.Marshal(service)
		if err == nil { // it was JSON before
			err = vault.MeantRules(spelled)
		}
		if err != nil {
			return r, err
		}
	}
	d := json.NewDecoder(bytes.NewReader(asJSON))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		name, unknown := strings.CutPrefix(err.Error(), "json: unknown field ")
		if name = strings.Trim(name, `"`); unknown && vault.PersonOnly(name) {
			return r, hint(fmt.Errorf("%s of a service is for a person to set; a proposal does not have it", name), "leave it out")
		}
		return r, declarationError(err)
	}
	return r, nil
}
