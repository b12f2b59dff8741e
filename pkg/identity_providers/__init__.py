"""Those whose word is taken for who somebody is: GitHub, and whoever speaks OpenID Connect."""
