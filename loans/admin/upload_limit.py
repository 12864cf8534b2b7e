"""Files larger than is taken are passed over while they come in, instead of filling disk or memory first."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import InMemoryUploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile, StopFutureHandlers

ROOM = 100_000  # for the form around the file
DOCUMENT_VIEW = "loans_loanapplication_document_add"


class UploadLimit(FileUploadHandler):
    """Loan files of the import wizard. The view finds `request.upload_too_large` with the file's name, and no file."""

    too_large = False

    @property
    def most(self) -> int:
        return settings.IMPORT_MAX_BYTES

    def handle_raw_input(self, input_data: Any, META: dict[str, Any], content_length: int, boundary: bytes, encoding: Any = None) -> None:
        self.too_large = content_length > self.most + ROOM

    def new_file(self, field_name: str, file_name: str, *args: Any, **kwargs: Any) -> None:
        super().new_file(field_name, file_name, *args, **kwargs)
        if self.too_large:
            self.request.upload_too_large = file_name
            raise SkipFile

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        return raw_data

    def file_complete(self, file_size: int) -> Any:
        return None


class DocumentUpload(UploadLimit):
    """An application's document stays in memory: in clear it never touches the disk. What comes in for another view passes by."""

    mine = False

    @property
    def most(self) -> int:
        return settings.DOCUMENT_MAX_BYTES

    def handle_raw_input(self, input_data: Any, META: dict[str, Any], content_length: int, boundary: bytes, encoding: Any = None) -> None:
        match = getattr(self.request, "resolver_match", None)
        self.mine = match is not None and match.url_name == DOCUMENT_VIEW
        self.too_large = self.mine and content_length > self.most + ROOM

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        if self.mine:
            self.bytes = BytesIO()
            raise StopFutureHandlers

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        if not self.mine:
            return raw_data
        self.bytes.write(raw_data)
        return None

    def file_complete(self, file_size: int) -> Any:
        if not self.mine:
            return None
        self.bytes.seek(0)
        return InMemoryUploadedFile(self.bytes, self.field_name, self.file_name, self.content_type, file_size, self.charset)
