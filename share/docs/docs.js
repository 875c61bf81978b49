// SPDX-License-Identifier: MIT
//
// Swagger UI over this server's own document. A token stays in the page's memory: it is gone with
// the page, and nothing is fetched from elsewhere (no validator, no fonts).
SwaggerUIBundle({
  dom_id: '#swagger-ui',
  url: 'openapi.json',
  presets: [SwaggerUIBundle.presets.apis],
  layout: 'BaseLayout',
  validatorUrl: null,
  deepLinking: true,
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  supportedSubmitMethods: ['get', 'post'],
});
