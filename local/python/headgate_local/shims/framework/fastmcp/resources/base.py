from headgate_local.content import ResourceContent, ResourceResult
from headgate_local.stubs import Resource, resource

__all__ = ["Resource", "ResourceContent", "ResourceResult", "resource"]
