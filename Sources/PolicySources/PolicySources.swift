// PolicySources
