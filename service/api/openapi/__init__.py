"""The OpenAPI document: what each route takes and answers, and the document made of it."""
