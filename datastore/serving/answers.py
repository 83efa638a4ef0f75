"""The JSON objects in the answers of AHI. Times are seconds since 1970."""

from typing import Any

from datastore.storage.records import DatastoreProperties, ImageSetVersion


def properties_json(image_set: ImageSetVersion) -> dict[str, Any]:
    """The properties in GetImageSet and ListImageSetVersions, where the version is a string."""
    deleted = {} if image_set.deleted_at is None else {"deletedAt": image_set.deleted_at}
    return {
        "imageSetId": image_set.image_set_id,
        "versionId": str(image_set.version),
        "imageSetState": image_set.state,
        "createdAt": image_set.created_at,
        "updatedAt": image_set.updated_at,
        "isPrimary": image_set.is_primary,
    } | deleted


def summary_json(image_set: ImageSetVersion) -> dict[str, Any]:
    """A summary in SearchImageSets, where the version is a number."""
    return {
        "imageSetId": image_set.image_set_id,
        "version": image_set.version,
        "createdAt": image_set.created_at,
        "updatedAt": image_set.updated_at,
        "lastAccessedAt": image_set.updated_at,
        "storageTier": "FREQUENT_ACCESS",
        "isPrimary": image_set.is_primary,
        "DICOMTags": {name: value for name, value in image_set.tags.items() if value is not None},
    }


def datastore_json(datastore: DatastoreProperties) -> dict[str, Any]:
    """The properties in GetDatastore."""
    return {
        "datastoreId": datastore.datastore_id,
        "datastoreName": datastore.name,
        "datastoreStatus": datastore.status,
        "datastoreArn": datastore.arn,
        "createdAt": datastore.created_at,
        "updatedAt": datastore.updated_at,
        "losslessStorageFormat": datastore.lossless_storage_format,
    }
