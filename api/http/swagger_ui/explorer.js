// Show the API in Swagger UI, which asks nobody but this server, in place of the plain page.
document.documentElement.classList.toggle('dark-mode', matchMedia('(prefers-color-scheme: dark)').matches);
SwaggerUIBundle({
  url: 'openapi.json',
  domNode: document.getElementById('explorer'),
  validatorUrl: null,
  deepLinking: true,
  docExpansion: 'none',
  defaultModelsExpandDepth: -1,
  displayRequestDuration: true,
  filter: true,
  requestSnippetsEnabled: true,
  onComplete() {
    document.body.classList.add('explored');
    document.getElementById('reference').hidden = true;
  },
});
