"""Reading media files: header, duration, waveform and video frames.

Open first: waveform.py (`Waveform`: an audio file or track as 16 kHz mono) and video.py (`open_video`: the frames of a
video). Below them: audio_track.py decodes the audio track of a container, channels.py mixes its channels;
decord_video.py and pyav_video.py are the two video readers behind the protocol in video_reader.py, geometry.py turns
decoded frames into the pictures that they show; probe.py reads headers, duration.py the declared durations, tracks.py
chooses the track. media_group.py describes the utterances of one media file, the unit of work of both pipelines.
"""
