"""Every word that a person reads in the console: one key each, English first. Runs in the web processes.

Templates say `{{ t.error_back }}`, or `{{ t("error_wait", seconds=5) }}` for a text with places to fill in. Scripts get
their texts from `data-` attributes. `tests/app/console/test_texts.py` finds words in templates that are not from here.
"""

from collections.abc import Mapping

FRAME: Mapping[str, str] = {
    "product": "AHI DICOMweb Proxy",
    "skip": "Skip to the content",
    "navigation": "Pages",
    "navigation_worklist": "Work list",
    "navigation_upload": "Upload",
    "navigation_jobs": "Jobs",
    "navigation_status": "Status",
    "navigation_access": "Access",
    "signed_in_as": "Signed in as",
    "sign_out": "Sign out",
}

ERRORS: Mapping[str, str] = {
    "error_back": "Back to the work list",
    "error_again": "Try again",
    "error_wait": "Try again in {seconds} seconds.",
    "error_400_title": "This request cannot be understood",
    "error_400_advice": "Check the address, or go back and try again.",
    "error_401_title": "You are not signed in",
    "error_401_advice": "Sign in, then open the page again.",
    "error_403_title": "You have no right to this",
    "error_403_advice": "Ask the people who run this service if you need it.",
    "error_404_title": "There is no such page",
    "error_404_advice": "It may have been removed, or it may not be yours to see.",
    "error_405_title": "This page cannot do that",
    "error_405_advice": "Go back and try again from there.",
    "error_409_title": "Something else has changed this",
    "error_409_advice": "Open the page again to see what it is now.",
    "error_413_title": "This is too large",
    "error_413_advice": "Send less at once.",
    "error_429_title": "Too many requests",
    "error_429_advice": "Wait a moment. The service answers everybody in turn.",
    "error_500_title": "Something went wrong here",
    "error_500_advice": "The log of the service says more. Its operators can find it by the time.",
    "error_502_title": "AWS HealthImaging gave an answer that cannot be used",
    "error_502_advice": "The log of the service says more.",
    "error_503_title": "The service cannot answer now",
    "error_503_advice": "Something that it depends on is away. It tries again by itself.",
}

LOGIN: Mapping[str, str] = {
    "login_title": "Sign in",
    "login_name": "Name",
    "login_password": "Password",
    "login_token": "Token",
    "login_token_hint": "A token begins with adp_. Whoever runs this service makes it.",
    "login_token_title": "With a token",
    "login_issuer": "Sign in at {host}",
    "login_send": "Sign in",
    "login_wrong": "This is not right. Check what you have typed, and try again.",
    "login_issuer_refused": "The login did not succeed. Try again.",
    "login_plain": "People sign in by https only: on the way, others can read what is sent by plain http.",
    "login_none": "This service has no login for people. Its programs sign in by themselves.",
    "login_again": "Signed in as {name}. Go on, or sign in as somebody else.",
    "login_go_on": "Go on",
    "login_out_title": "You are signed out",
    "login_out_issuer": "Your browser goes on to sign you out where you signed in.",
    "login_out_issuer_link": "Sign out there",
    "login_out_again": "Sign in again",
}

WORKLIST: Mapping[str, str] = {
    "worklist_title": "Work list",
    "worklist_ae_title": "AE title",
    "worklist_text": "Name or ID",
    "worklist_hint": (
        "Names begin with the family name. * stands for any letters, ? for one. "
        "Keys: / to search, j and k or the arrows to move, Enter to open."
    ),
    "worklist_date": "Study date",
    "worklist_date_any": "Any day",
    "worklist_date_today": "Today",
    "worklist_date_yesterday": "Yesterday",
    "worklist_date_week": "Last 7 days",
    "worklist_date_month": "Last 30 days",
    "worklist_date_range": "From … to …",
    "worklist_from": "From",
    "worklist_to": "To",
    "worklist_modality": "Modality",
    "worklist_more_fields": "More fields",
    "worklist_name": "Name",
    "worklist_id": "ID",
    "worklist_birth": "Birth date",
    "worklist_accession": "Accession",
    "worklist_description": "Description",
    "worklist_search": "Search",
    "worklist_clear": "Clear the filter",
    "worklist_results": "Studies",
    "worklist_problem": "This cannot be searched for:",
    "worklist_not_sorted": (
        "More than {number} studies fit, which is too many to sort. The newest come first. Narrow the filter to sort."
    ),
    "worklist_rows": "Studies {first} to {last} of {number}",
    "worklist_rows_more": "Studies {first} to {last} of more than {number}",
    "worklist_keys": "Studies. The heading of a column sorts by it.",
    "worklist_picture": "Picture",
    "worklist_pictures": "Pictures",
    "worklist_pictures_shown": "Shown",
    "worklist_pictures_none": "Not shown",
    "worklist_look": "Quick look: {name}",
    "worklist_no_name": "(no name)",
    "worklist_series": "Series",
    "worklist_instances": "Images",
    "worklist_pages": "Pages of the list",
    "worklist_size": "Rows",
    "worklist_sort": "Sort by",
    "worklist_previous": "Previous",
    "worklist_next": "Next",
    "worklist_zone": "Dates and times are local to the place of the study. Today is {today} here ({zone}).",
    "worklist_ends_early": "The list ends here. Narrow the filter to see more.",
    "worklist_no_more": "The list has no such page.",
    "worklist_first_page": "First page",
    "worklist_empty_title": "There are no studies here yet",
    "worklist_empty": "The AE title {ae_title} shows no study. What you can do:",
    "worklist_empty_upload": "Upload files",
    "worklist_empty_other": "Choose another AE title above",
    "worklist_empty_index": "Put what AWS HealthImaging has into the index:",
    "worklist_empty_check": "Let the service check itself:",
    "worklist_nothing_title": "No study fits",
    "worklist_nothing": "Names begin with the family name. Put a * before a word that is not the first.",
}

STUDY: Mapping[str, str] = {
    "study_sex": "Sex",
    "study_local_time": "(local time of the place)",
    "study_id": "Study ID",
    "study_referring": "Referring physician",
    "study_parts": "Parts",
    "study_counts": "{series} series, {instances} images",
    "study_look": "Quick look",
    "study_ohif": "Open in OHIF",
    "study_weasis": "Open in Weasis",
    "study_zip": "Download as ZIP",
    "study_zip_series": "Download the series as ZIP",
    "study_series": "Series",
    "study_instance_of": "1 image",
    "study_instances_of": "{number} images",
    "study_addresses": "Addresses for programs (DICOMweb)",
    "study_url_root": "Service root",
    "study_url_study": "Study",
    "study_url_metadata": "Metadata",
    "study_copy": "Copy",
    "study_copied": "Copied",
    "study_share": "Share link",
    "study_share_advice": (
        "Everybody who has the link sees this study without a login, and nothing else. "
        "It cannot be taken back before its end."
    ),
    "study_share_hours": "Lasts for",
    "study_share_hour": "{number} h",
    "study_share_days": "{number} days",
    "study_share_make": "Make a link",
    "study_link_made": "The link is made",
    "study_link_until": "It ends at {expires}. This page shows it once.",
    "study_link_page": "For people",
    "study_link_weasis": "Open the link in Weasis",
    "study_page": "Page {page}",
    "study_back": "Back to the study",
    "study_back_to_series": "Back to the series",
    "study_instance": "Image {number}",
    "study_frames": "{number} frames",
    "study_attributes": "Attributes",
    "study_instance_uid": "SOP Instance UID",
    "study_transfer_syntax": "Transfer syntax",
    "study_frame_count": "Frames",
    "study_dicom": "DICOM file",
    "study_json": "DICOM JSON",
    "study_picture": "Picture",
    "study_find": "Find in tags, names and values",
    "study_found": "{number} of {all} attributes",
    "study_attribute_count": "{number} attributes",
    "study_left_out": "There are more, which are not shown: DICOM JSON has all of them.",
    "study_item": "Item {number}",
    "study_items": "items: {number}",
    "study_bulk": "Bulk data",
    "study_omitted": "… {number} more",
    "study_unknown": "Unknown attribute",
    "study_private": "private",
}

LOOK: Mapping[str, str] = {
    "look_title": "Quick look",
    "look_no_name": "No name",
    "look_series": "Series",
    "look_object": "1 object",
    "look_objects": "{number} objects",
    "look_series_before": "Series before these",
    "look_series_after": "More series",
    "look_pictures": "Pictures",
    "look_tools": "Tools",
    "look_before": "Previous",
    "look_after": "Next",
    "look_play": "Play",
    "look_pause": "Pause",
    "look_window": "Window",
    "look_window_own": "As stored",
    "look_window_soft": "Soft tissue",
    "look_window_lung": "Lung",
    "look_window_bone": "Bone",
    "look_window_brain": "Brain",
    "look_window_liver": "Liver",
    "look_window_numbers": "{center} / {width}",
    "look_window_is": "Window {center} / {width}",
    "look_drag": "Dragging changes",
    "look_drag_window": "Drag: window",
    "look_drag_scroll": "Drag: scroll",
    "look_drag_pan": "Drag: move",
    "look_larger": "Zoom in",
    "look_smaller": "Zoom out",
    "look_invert": "Invert",
    "look_reset": "Reset",
    "look_study": "Study",
    "look_picture_alt": "Picture {number} of {total}: {series}",
    "look_slice": "{number} / {total}",
    "look_zoom_is": "Zoom {percent} %",
    "look_loading": "Loading…",
    "look_canvas": "Picture",
    "look_slider": "Number of the picture",
    "look_open": "Open what is stored",
    "look_nothing": "This object has no picture.",
    "look_file": "This object is a file that is not shown here.",
    "look_retry": "Try again",
    "look_error_401": "You are no longer signed in. Sign in in another window, then try again.",
    "look_error_403": "You have no right to see this picture.",
    "look_error_404": "This picture is not there. It may have been removed.",
    "look_error_406": "No picture can be made of this object.",
    "look_error_429": "Too many requests. Wait a moment, then try again.",
    "look_error_503": "AWS HealthImaging or the index does not answer now. Try again in a moment.",
    "look_error_other": "The picture could not be loaded.",
    "look_error_network": "The service cannot be reached.",
    "look_error_video": "This browser cannot play the video.",
    "look_keys": "Keys",
    "look_keys_text": "Arrow keys: previous and next picture. Page up and down: ten pictures. Home and End: first and "
    "last. Space: play and pause. Plus and minus: zoom. Shift with arrow keys: move. 1 to 9: windows. I: invert. "
    "0: reset. [ and ]: series before and after. Wheel: scroll. Ctrl with wheel: zoom.",
}

UPLOAD: Mapping[str, str] = {
    "upload_title": "Upload",
    "upload_off": "Nothing can be stored here: storing is switched off.",
    "upload_off_advice": "Those who run the service switch it on with the setting STORE=true.",
    "upload_no_datastore": "Nothing can be stored under the AE title {ae_title}: it has no data store to store to.",
    "upload_no_datastore_advice": "Those who run the service name one in STORE_DATASTORE_ID or AE_TITLES.",
    "upload_ae_title": "AE title",
    "upload_choose": "Choose",
    "upload_drop": "Drop DICOM files, folders or ZIP files here, or choose them:",
    "upload_files": "Choose files",
    "upload_folder": "Choose a folder",
    "upload_total": "All files",
    "upload_stop": "Stop",
    "upload_save": "Save the results as a table",
    "upload_worklist": "To the work list",
    "upload_more": "More files failed than are shown here. The saved table has all of them.",
    "upload_without_script": (
        "Scripts are off in this browser. Files can be sent with this form. ZIP files and folders cannot."
    ),
    "upload_send": "Send",
    "upload_results": "Results of the upload",
    "upload_result_sums": "{stored} stored, {failed} not stored.",
    "upload_spooled": "They are safe here, and go to the data store in a while.",
    "upload_study": "Study",
    "upload_again": "Upload more",
    "upload_file_label": "File",
    "upload_state_label": "State",
    "upload_sending": "Sending",
    "upload_waiting": "The service is busy: next attempt in {seconds} s",
    "upload_stored": "Stored",
    "upload_stored_but": "Stored: {reason}",
    "upload_changed": "Stored with changes",
    "upload_sums": "{done} of {found} files, {bytes} of {all}: {stored} stored, {failed} not stored",
    "upload_sums_at_end": "Done: {stored} files stored, {failed} not stored, {all}",
    "upload_retry": "Try again ({number})",
    "upload_not_dicom": "This is no DICOM file",
    "upload_unreadable": "The browser cannot read this file",
    "upload_folder_too_deep": "This folder is too deep",
    "upload_zip_damaged": "The ZIP file is damaged",
    "upload_zip_encrypted": "This file in the ZIP file is encrypted",
    "upload_zip_method": "This file in the ZIP file is compressed in a way that browsers do not know: unpack it first",
    "upload_zip_too_large": "This file in the ZIP file has more than 2 GB: unpack it first",
    "upload_zip_without_script": "A ZIP file can be sent only if the browser allows scripts. Unpack it first",
    "upload_signed_out": "You are signed out. Sign in again in another window, then try again here.",
    "upload_no_right": "You have no right to store here.",
    "upload_other_reason": "Not stored, reason {code}",
    "upload_not_reached": "The service was not reached",
    "upload_too_large": "This file is too large for the service",
    "upload_refused": "Refused ({status}): {detail}",
    "upload_not_now": "Not stored ({status}): {detail}",
    "upload_stopped": "Stopped",
    "upload_reason_processing": "The data store could not store it",
    "upload_reason_duplicate": "The same instance is there with other content",
    "upload_reason_class": "This kind of object cannot be stored",
    "upload_reason_right": "You may not store this",
    "upload_reason_room": "There is no room at the moment",
    "upload_reason_mismatch": "It does not belong where it says",
    "upload_reason_not_understood": "It cannot be understood",
    "upload_reason_syntax": "Its transfer syntax cannot be stored",
}

JOBS: Mapping[str, str] = {}

STATUS: Mapping[str, str] = {}

ACCESS: Mapping[str, str] = {}

SECTIONS = (FRAME, ERRORS, LOGIN, WORKLIST, STUDY, LOOK, UPLOAD, JOBS, STATUS, ACCESS)
"""The texts of each part. A key begins with the name of its part, so that no two parts have the same."""


class Texts:
    """The catalogue: a text by its key, as an attribute or by a call."""

    def __init__(self, sections: tuple[Mapping[str, str], ...] = SECTIONS) -> None:
        self._texts = {key: text for section in sections for key, text in section.items()}

    def __getattr__(self, key: str) -> str:
        """The text; AttributeError if there is none, which is a mistake in a template."""
        try:
            return self._texts[key]
        except KeyError:
            raise AttributeError(f"no text: {key}") from None

    def __call__(self, key: str, **values: object) -> str:
        """The text with values in its places; KeyError if there is none, or a value is missing."""
        return self._texts[key].format(**values)
