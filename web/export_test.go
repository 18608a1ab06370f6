package web

// Routes are the methods and patterns of the table.
func (p *Pages) Routes() (routes [][2]string) {
	for _, rt := range p.routes {
		routes = append(routes, [2]string{rt.method, rt.path})
	}
	return routes
}

// Local is local.
func Local(next string) string { return local(next) }

// Asset is where a page loads a file from.
func (p *Pages) Asset(name string) string { return p.assets[name].url }
