"""HTTP as API Gateway and `sam local` deliver it: requests, JSON answers, pages."""
