from headgate_local.content import Audio, File, Image

__all__ = ["Audio", "File", "Image"]
