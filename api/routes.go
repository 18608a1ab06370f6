package api

// What many routes read besides bodies.
type (
	byName struct {
		Name string `path:"name"`
	}
	byEmail struct {
		Email string `path:"email"`
	}
	byID struct {
		ID string `path:"id"`
	}
	inVault struct {
		Vault string `query:"vault,required" doc:"The vault's name."`
	}
)
